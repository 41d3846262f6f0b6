"""Cover an image of any size with overlapping tiles, and blend what a network predicts for them.

The U-Net's own paper calls this the overlap-tile strategy (Ronneberger et al. 2015, figure 2). The Gaussian weights are
those of nnU-Net (Isensee et al. 2021, https://doi.org/10.1038/s41592-020-01008-z).
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

SIGMA = 1 / 8  # of the Gaussian, relative to the side of a tile


@dataclass(frozen=True)
class Tiles:
    """How images are covered with tiles."""

    size: tuple[int, int]  # px, height and width of a tile; multiples of `multiple`
    multiple: int  # px, of the places of tiles, so that poolings and strides divide each of them in the same way
    overlap: float  # least part of a tile's side that its neighbor covers too, 0 to below 1
    blend: Blend = "gaussian"

    @classmethod
    def from_description(cls, description: dict[str, Any]) -> Tiles:
        """Create the tiles from what `dataclasses.asdict` returned, also after it was stored as JSON."""
        return cls(**{**description, "size": tuple(description["size"])})

    def cover(self, shape: tuple[int, ...]) -> Tiling:
        """Cover an image of `shape`, H x W, ...."""
        rows, columns = (
            Axis(length, side, self.overlap, self.multiple, self.blend)
            for length, side in zip(shape[:2], self.size, strict=True)
        )
        return Tiling(rows, columns)


@dataclass(frozen=True)
class Axis:
    """The tiles along one side of an image."""

    length: int  # px, of the image
    size: int  # px, of a tile
    overlap: float
    multiple: int  # px
    blend: Blend

    @cached_property
    def padded(self) -> int:
        """Length with the padding behind it, px: at least one tile."""
        return max(self.size, math.ceil(self.length / self.multiple) * self.multiple)

    @cached_property
    def starts(self) -> tuple[int, ...]:
        """First pixel of each tile; the tiles are spread evenly."""
        last = (self.padded - self.size) // self.multiple
        stride = max(1, int(self.size * (1 - self.overlap)) // self.multiple)
        count = math.ceil(last / stride)
        return tuple(round(index * last / count) * self.multiple for index in range(count + 1)) if count else (0,)

    @cached_property
    def weights(self) -> NDArray[np.float32]:
        """Weight of each pixel of each tile, tiles x size; over the tiles of a pixel of the image, the sum is 1."""
        center = (self.size - 1) / 2
        distances = np.abs(np.arange(self.size) - center)
        places = np.arange(self.size) + np.array(self.starts)[:, None]
        if self.blend == "gaussian":
            weights = np.broadcast_to(np.exp(-0.5 * (distances / (SIGMA * self.size)) ** 2), places.shape)
        else:  # each pixel belongs to the tile with the nearest center, to the first of two
            nearest = np.abs(np.arange(self.padded) - (np.array(self.starts)[:, None] + center)).argmin(axis=0)
            weights = nearest[places] == np.arange(len(self.starts))[:, None]
        totals = np.bincount(places.ravel(), weights=weights.ravel(), minlength=self.padded)
        normalized: NDArray[np.float32] = (weights / totals[places]).astype(np.float32)
        return normalized


@dataclass(frozen=True)
class Tiling:
    """The tiles of an image."""

    rows: Axis
    columns: Axis

    def __len__(self) -> int:
        """Return the number of tiles."""
        return len(self.rows.starts) * len(self.columns.starts)

    def predict_strips(
        self, predict: Callable[[Sequence[Window]], Iterator[Any]], num_values: int, array: Callable[[Any], Any]
    ) -> Iterator[tuple[slice, Any]]:
        """Predict the tiles from the top and blend them, in the memory of one row of tiles.

        Args:
            predict: Yields the values of windows, num_values x h x w each, float32, in the order of the windows.
            num_values: Number of values of a pixel: of the logits of a network, the number of classes.
            array: Converts an array of numpy to the type of the values: a torch tensor on a device, or numpy's own.

        Yields:
            Rows of the image, and num_values x rows x W.
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
            yield slice(top, end), blended + 0  # a copy of numpy or torch
            if end < self.rows.length:
                band[:, : height - done] = band[:, done:] + 0
                band[:, height - done :] = 0
