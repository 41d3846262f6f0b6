"""Library: decode images and masks, read their metadata, and turn mask values into classes; served models carry it."""
