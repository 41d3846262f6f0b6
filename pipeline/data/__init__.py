"""Library: read the prepared arrays, in batches, and augment them."""
