"""Exception for images that cannot be used."""

from __future__ import annotations


class ImageError(Exception):
    """An image that cannot be used. The message follows the file's name, such as "is not a complete image"."""
