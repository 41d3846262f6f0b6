"""Write decoded voxels to a temporary file, from which they can be mapped into memory."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from typing import IO

MAX_BYTES = 32_000_000_000  # of the voxels of a volume, uncompressed


def write_temporary(blocks: Iterable[bytes | memoryview]) -> IO[bytes]:
    """Write blocks of voxels to a temporary file, which is deleted when it is closed.

    Raises:
        OSError: The folder of temporary files is full.
    """
    file = tempfile.TemporaryFile()  # noqa: SIM115
    try:
        for block in blocks:
            _append(file, block)
        file.flush()
    except BaseException:
        file.close()
        raise
    return file


def _append(file: IO[bytes], block: bytes | memoryview) -> None:
    try:
        file.write(block)
    except OSError as error:
        raise OSError(
            error.errno,
            f"cannot be decompressed to {tempfile.gettempdir()}: {error.strerror}; set TMPDIR to another folder",
        ) from None
