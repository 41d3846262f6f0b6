"""Readers of annotation formats, one module per format; `table` lists them."""
