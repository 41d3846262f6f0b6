"""Which cells are stale, and running them side by side on this machine."""
