"""Library: decode images and masks, read their metadata, and map mask values to classes.

It imports nothing else of this project, and its modules import each other relatively: a served model contains a copy
of this folder inside a package of another name.
"""

IGNORE = 255  # class index of pixels that are not evaluated
