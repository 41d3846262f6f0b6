"""The stage that segments the images of `report.showcase` with the best run, for the top of the report."""
