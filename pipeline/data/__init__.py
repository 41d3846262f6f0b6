"""Library: decoding pictures, reading the prepared arrays and augmenting a batch of them."""
