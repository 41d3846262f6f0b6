"""The stage `compare`: judges the runs of the grid, ranks the settings over seeds, and states the findings."""
