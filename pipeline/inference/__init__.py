"""Library: from an image file to a network's input, through the network in batches, and back to the image's size.

A served model contains a copy of `preprocessing`, which therefore imports `imaging` relatively and nothing else.
"""
