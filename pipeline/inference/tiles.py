"""Cover an image of any size with overlapping tiles, and blend their predictions.

The U-Net paper calls this the overlap-tile strategy (Ronneberger et al. 2015, figure 2). The Gaussian weights follow
nnU-Net (Isensee et al. 2021, https://doi.org/10.1038/s41592-020-01008-z).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..imaging.windows import Window

Blend = Literal["gaussian", "crop"]

SIGMA = 1 / 8  # standard deviation of the Gaussian, as a fraction of a tile's side


@dataclass(frozen=True)
class Tiles:
    """Size, overlap and blending of the tiles that cover an image."""

    size: tuple[int, int]  # px, height and width of a tile; multiples of `multiple`
    multiple: int  # px; tiles start at multiples of it, so that pooling and strides align in the same way in all tiles
    overlap: float  # minimum fraction of a tile's side that overlaps with the next tile, from 0 to less than 1
    blend: Blend = "gaussian"

    @classmethod
    def from_description(cls, description: dict[str, Any]) -> Tiles:
        """Create the tiles from the result of `dataclasses.asdict`, which may have been stored as JSON."""
        return cls(**{**description, "size": tuple(description["size"])})

    def cover(self, shape: tuple[int, ...]) -> Tiling:
        """Cover an image with tiles; `shape` begins with its height and width in px."""
        rows, columns = (
            Axis(length, side, self.overlap, self.multiple, self.blend)
            for length, side in zip(shape[:2], self.size, strict=True)
        )
        return Tiling(rows, columns)


@dataclass(frozen=True)
class Axis:
    """Tiles along one side of an image."""

    length: int  # px, side of the image
    size: int  # px, side of a tile
    overlap: float  # see `Tiles`
    multiple: int  # px, see `Tiles`
    blend: Blend

    @cached_property
    def padded(self) -> int:
        """Side of the image including the padding at its end, in px; at least the side of a tile."""
        return max(self.size, math.ceil(self.length / self.multiple) * self.multiple)

    @cached_property
    def starts(self) -> tuple[int, ...]:
        """First pixel of each tile; the tiles are evenly spaced."""
        last = (self.padded - self.size) // self.multiple
        stride = max(1, int(self.size * (1 - self.overlap)) // self.multiple)
        count = math.ceil(last / stride)
        return tuple(round(index * last / count) * self.multiple for index in range(count + 1)) if count else (0,)

    @cached_property
    def weights(self) -> NDArray[np.float32]:
        """Weight of each pixel of each tile, tiles x size; the weights of all tiles at an image pixel sum to 1."""
        center = (self.size - 1) / 2
        distances = np.abs(np.arange(self.size) - center)
        places = np.arange(self.size) + np.array(self.starts)[:, None]
        if self.blend == "gaussian":
            weights = np.broadcast_to(np.exp(-0.5 * (distances / (SIGMA * self.size)) ** 2), places.shape)
        else:  # each pixel belongs to the tile with the nearest center, or to the first of two equally near ones
            nearest = np.abs(np.arange(self.padded) - (np.array(self.starts)[:, None] + center)).argmin(axis=0)
            weights = nearest[places] == np.arange(len(self.starts))[:, None]
        totals = np.bincount(places.ravel(), weights=weights.ravel(), minlength=self.padded)
        normalized: NDArray[np.float32] = (weights / totals[places]).astype(np.float32)
        return normalized


@dataclass(frozen=True)
class Tiling:
    """Tiles of an image."""

    rows: Axis
    columns: Axis

    def __len__(self) -> int:
        """Return the number of tiles."""
        return len(self.rows.starts) * len(self.columns.starts)

    def predict_strips(
        self, predict: Callable[[Sequence[Window]], Iterator[Any]], num_values: int, array: Callable[[Any], Any]
    ) -> Iterator[tuple[slice, Any]]:
        """Predict the tiles from top to bottom and blend them; only one row of tiles is in memory at once.

        Args:
            predict: Function that yields the values of each window in turn, num_values x h x w, float32.
            num_values: Number of values per pixel, such as the number of classes for logits.
            array: Function that converts a numpy array to the type of the values, such as a torch tensor on a device.

        Yields:
            A slice of rows of the image, and the values of these rows, num_values x rows x W.
        """
        height, width = self.rows.size, self.columns.size
        band = array(np.zeros((num_values, height, self.columns.padded), np.float32))
        row_weights, column_weights = array(self.rows.weights), array(self.columns.weights)
        ends = (*self.rows.starts[1:], self.rows.length)
        for top, end, row_weight in zip(self.rows.starts, ends, row_weights, strict=True):
            windows = [(slice(top, top + height), slice(left, left + width)) for left in self.columns.starts]
            for (_, columns), values, column_weight in zip(windows, predict(windows), column_weights, strict=True):
                band[:, :, columns] += values * (row_weight[:, None] * column_weight)
            done = end - top
            blended = band[:, :done, : self.columns.length]
            yield slice(top, end), blended + 0  # copies both numpy arrays and torch tensors
            if end < self.rows.length:
                band[:, : height - done] = band[:, done:] + 0
                band[:, height - done :] = 0
