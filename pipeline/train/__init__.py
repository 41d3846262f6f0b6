"""The stage `train`: trains one cell of the grid and writes its run folder."""
