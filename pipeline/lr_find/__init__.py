"""`pipeline lr-find`: one short training at a growing rate, and the grid that its curve suggests; writes no run."""
