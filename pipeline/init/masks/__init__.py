"""Guess from the masks of a folder which classes their values and colors are."""
