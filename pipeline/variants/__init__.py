"""Library: whether a variant's network can be had, what it costs, and the table of it."""
