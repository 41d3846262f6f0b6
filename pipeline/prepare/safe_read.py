"""Read untrusted files with a size limit; refuse pipes and devices."""

from __future__ import annotations

from pathlib import Path

MAX_BYTES = 1_000_000_000  # of the largest image that is decoded


def read_limited(path: Path) -> bytes:
    """Read a file.

    Raises:
        OSError: The file cannot be read, is too large, or is a pipe, a device or a folder.
    """
    if not path.is_file() and path.exists():
        raise OSError(0, "is not a file, but a pipe, a device or a folder")
    if (size := path.stat().st_size) > MAX_BYTES:
        raise OSError(0, f"has {size:,} bytes; the limit is {MAX_BYTES:,}")
    return path.read_bytes()
