"""Decode images and masks, read their metadata, and map mask values to classes.

This package imports nothing else of the project, and its modules import each other relatively, because a served model
contains a copy of this folder in another package.
"""

IGNORE = 255  # class index of ignored pixels
