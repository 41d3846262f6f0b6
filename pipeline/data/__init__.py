"""Library: read prepared images in batches, and augment them."""
