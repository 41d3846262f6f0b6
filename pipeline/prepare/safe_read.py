"""Reading files that nobody vouches for: neither for ever, nor more than there is room for."""

from __future__ import annotations

from pathlib import Path

MAX_BYTES = 1_000_000_000  # as many as the largest picture that is decoded can have


def read_limited(path: Path) -> bytes:
    """A file's content.

    Raises:
        OSError: It cannot be read, is too large, or is no file but a pipe or a device, which may have no end.
    """
    if not path.is_file() and path.exists():
        raise OSError(0, "is no file, but a pipe, a device or a folder")
    if (size := path.stat().st_size) > MAX_BYTES:
        raise OSError(0, f"has {size:,} bytes; no more than {MAX_BYTES:,} are read")
    return path.read_bytes()
