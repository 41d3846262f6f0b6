"""Cut windows out of images. Windows may extend beyond the edges of an image."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Window = tuple[slice, slice]  # rows and columns, which may extend beyond the image


class WindowedImage(Protocol):
    """An image (H x W x C) or a mask (H x W): an array, or a file whose windows are decoded on request."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Height, width, channels."""

    def __getitem__(self, window: Window) -> NDArray[Any]:
        """Return a window inside the image."""


def center_window(shape: tuple[int, ...], size: tuple[int, int]) -> Window:
    """Return the window of `size` (height and width, px) in the center of an image of `shape` (H x W, ...)."""
    top, left = ((full - side) // 2 for full, side in zip(shape[:2], size, strict=True))
    return slice(top, top + size[0]), slice(left, left + size[1])


def cut_window(image: WindowedImage, window: Window, outside: int | None = None) -> NDArray[Any]:
    """Cut a window out of an image (H x W x C) or a mask (H x W).

    Pixels outside the image get the value `outside`. If it is None, the image is padded by reflection.
    """
    (height, width), (rows, columns) = image.shape[:2], window
    if rows.start >= 0 and rows.stop <= height and columns.start >= 0 and columns.stop <= width:
        return image[window]
    row_index, column_index = _reflect(rows, height), _reflect(columns, width)
    visible = tuple(slice(int(index.min()), int(index.max()) + 1) for index in (row_index, column_index))
    cut = image[visible[0], visible[1]][row_index[:, None] - visible[0].start, column_index - visible[1].start]
    if outside is not None:
        cut[(row_index != np.arange(rows.start, rows.stop))] = outside
        cut[:, column_index != np.arange(columns.start, columns.stop)] = outside
    return cut


def _reflect(places: slice, length: int) -> NDArray[np.int64]:
    """Return the pixel index at each position of a row or column that is mirrored at its outermost pixels."""
    period = max(1, 2 * (length - 1))
    index = np.arange(places.start, places.stop) % period
    return np.minimum(index, period - index) if length > 1 else np.zeros_like(index)
