"""Temporary files for arrays of images that may not fit in memory."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import PipelineError

STRIP_PIXELS = 2_000_000  # pixels per strip


class RowFile:
    """Temporary file with the rows of an array, which are read and written in strips. Use as a context manager."""

    def __init__(self, width: int, dtype: type[np.generic]) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115
        self._width, self._dtype = width, np.dtype(dtype)

    def __enter__(self) -> RowFile:
        """Return the file itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Remove the file."""
        self.close()

    def write(self, top: int, rows: NDArray[Any]) -> None:
        """Write rows from `top` on. Raise `PipelineError` if the disk is full."""
        try:
            self._file.seek(top * self._width * self._dtype.itemsize)
            self._file.write(np.ascontiguousarray(rows, self._dtype).data)
            self._file.flush()
        except OSError as error:
            raise PipelineError(
                f"{tempfile.gettempdir()} cannot hold the mask of an image: {error.strerror}. Free 1 byte per pixel of "
                f"the image there, or per voxel of the volume, and 5 more per pixel with --objects, or set TMPDIR to "
                f"another folder."
            ) from None

    def read(self, top: int, bottom: int) -> NDArray[Any]:
        """Read the rows from `top` to `bottom`."""
        size = self._width * self._dtype.itemsize
        self._file.seek(top * size)
        return np.frombuffer(self._file.read((bottom - top) * size), self._dtype).reshape(-1, self._width)

    def read_strips(self, height: int) -> Iterator[NDArray[Any]]:
        """Read the first `height` rows, strip by strip."""
        rows = max(1, STRIP_PIXELS // self._width)
        for top in range(0, height, rows):
            yield self.read(top, min(top + rows, height))

    def close(self) -> None:
        """Remove the file."""
        self._file.close()
