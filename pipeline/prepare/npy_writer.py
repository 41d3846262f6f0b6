"""Write an array item by item to a `.npy` file, in constant memory."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

_BLOCK_BYTES = 1 << 20


class NpyWriter:
    """A growing `.npy` file of items with one shape and type. Without items, there is no file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: BinaryIO | None = None
        self._item_shape: tuple[int, ...] = ()
        self._dtype: np.dtype[Any] = np.dtype(np.uint8)
        self._count = 0

    def append(self, item: NDArray[Any]) -> None:
        """Write an item after the others."""
        if self._file is None:
            self._file, self._item_shape, self._dtype = self._path.open("wb"), item.shape, item.dtype
            self._write_header(self._file)
        assert (item.shape, item.dtype) == (self._item_shape, self._dtype)
        self._file.write(np.ascontiguousarray(item).data)
        self._count += 1

    def close(self) -> None:
        """Write the number of items into the header."""
        if self._file is not None:
            self._file.seek(0)
            self._write_header(self._file)
            self._file.close()

    def _write_header(self, file: BinaryIO) -> None:
        # numpy pads the header, so its length does not depend on the number of items.
        shape = (self._count, *self._item_shape)
        header = {"descr": npy.dtype_to_descr(self._dtype), "fortran_order": False, "shape": shape}
        npy.write_array_header_1_0(file, header)


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
