"""Published loss curves, with their sources and the verdicts of two readers."""
