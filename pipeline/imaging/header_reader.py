"""Bound what decoders may read of a TIFF before they reach its pixels: its directories may be endless or circular."""

from __future__ import annotations

import io
from typing import Any

from .errors import ImageError

MAX_PAGES = 64  # channels, and smaller copies of them
_MAX_READS = 100_000  # a tag takes up to three
_SPARE_BYTES = 65_536  # for decoders that look at a file's start before they know its format


class HeaderReader(io.BytesIO):
    """A file in memory that raises `ImageError` once its headers take too many bytes or reads.

    Decoders read the value of every tag, and a small file can have thousands of tags that all refer to the same bytes.
    """

    def __init__(self, content: bytes, max_bytes: int | None = None) -> None:
        super().__init__(content)
        twice = 2 * len(content) + _SPARE_BYTES  # tifffile reads each directory twice
        self._bytes_left = twice if max_bytes is None else min(twice, max_bytes)
        self._reads_left = _MAX_READS
        self._is_limited = True

    def remove_limit(self) -> None:
        """Allow any number of reads from now on, which is for the pixels."""
        self._is_limited = False

    def read(self, size: int | None = -1, /) -> bytes:
        """Read up to `size` bytes."""
        content = super().read(size)
        self._count(len(content))
        return content

    def readinto(self, buffer: Any, /) -> int:
        """Read into a buffer."""
        size = super().readinto(buffer)
        self._count(size)
        return size

    def _count(self, size: int) -> None:
        if not self._is_limited:
            return
        self._bytes_left -= size
        self._reads_left -= 1
        if self._bytes_left < 0 or self._reads_left < 0:
            raise ImageError("has too many tags, or tags that are too large")
