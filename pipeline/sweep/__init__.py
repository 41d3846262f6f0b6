"""Train and evaluate the stale cells of the grid in parallel, on this machine or on a Ray cluster."""
