"""One typed class per folder that the stages write: the only code that knows their file names and columns."""
