"""Write an array item by item to a `.npy` file, in constant memory."""

from __future__ import annotations

import hashlib
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

_BLOCK_BYTES = 1 << 20


class NpyWriter:
    """A growing `.npy` file, as a context manager. All items have the shape and the type of the first one.

    No file is written if there are no items.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: BinaryIO | None = None
        self._first: NDArray[Any] | None = None
        self.count = 0

    def __enter__(self) -> NpyWriter:
        """Return the writer."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Write the number of items into the header."""
        if self._file is not None and self._first is not None:
            self._file.seek(0)
            self._write_header(self._file, self._first)
            self._file.close()

    def append(self, item: NDArray[Any]) -> None:
        """Write an item after the others."""
        if self._file is None or self._first is None:
            self._file, self._first = self._path.open("wb"), item
            self._write_header(self._file, item)
        assert (item.shape, item.dtype) == (self._first.shape, self._first.dtype)
        self._file.write(np.ascontiguousarray(item).data)
        self.count += 1

    def _write_header(self, file: BinaryIO, item: NDArray[Any]) -> None:
        # numpy pads the header, so its length does not depend on the number of items.
        shape = (self.count, *item.shape)
        npy.write_array_header_1_0(
            file, {"descr": npy.dtype_to_descr(item.dtype), "fortran_order": False, "shape": shape}
        )


def update_hash(digest: hashlib._Hash, path: Path) -> None:
    """Add the name, type, shape and content of an array to a hash.

    The file is read and not mapped, since mapped pages count as memory of the process.
    """
    with path.open("rb") as file:
        npy.read_magic(file)
        shape, _, dtype = npy.read_array_header_1_0(file)
        digest.update(f"{path.parent.name}/{path.name} {dtype.str} {shape}\n".encode())
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
