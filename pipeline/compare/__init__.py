"""Stage: compare the runs of the grid, judge them, rank the settings over seeds, and state the findings."""
