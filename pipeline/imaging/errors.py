"""Exception for images that cannot be used."""

from __future__ import annotations


class ImageError(Exception):
    """An image cannot be used. The message is phrased to follow the file name, such as "is not a complete image"."""
