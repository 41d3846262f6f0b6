"""The error of this library."""

from __future__ import annotations


class ImageError(Exception):
    """An image cannot be used; the message is a reason that follows the file's name: "is not a complete image"."""
