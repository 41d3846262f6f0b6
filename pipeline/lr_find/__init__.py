"""`pipeline lr-find`: a learning-rate range test, and the grid that it suggests; writes no run."""

LOWEST, HIGHEST = 1e-6, 1.0  # learning rates of the test; here, because the help text quotes them without other imports
STEPS = 240  # batches: 40 for each power of ten
