"""Library: reading the prepared arrays and augmenting a batch of them."""
