"""Formats of predicted masks, one module per format, listed in `table.py`."""
