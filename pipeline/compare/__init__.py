"""Stage: reads the cells of the current grid, judges the runs, ranks the rates over seeds, and says what was found."""
