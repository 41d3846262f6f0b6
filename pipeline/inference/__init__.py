"""Library: prepare image files for a network, predict them in batches, and restore the size of the images.

A served model contains copies of `preprocessing` and `tiles`, so these import nothing of this project except `imaging`,
and that only relatively.
"""
