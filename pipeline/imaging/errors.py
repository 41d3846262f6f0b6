"""What is raised of a picture; it travels with served models."""

from __future__ import annotations


class PictureError(Exception):
    """A picture cannot be used; the text says why, in words that follow the file's name."""
