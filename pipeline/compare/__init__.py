"""Stage: reads the cells of the current grid, ranks the rates over seeds, and says what was found."""
