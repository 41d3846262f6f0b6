"""From an image to the network's input, and from its output back to the image's own size.

`pipeline predict`, the showcase and the served model all use this class, so an image means the same to each of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..imaging.decode import Resize, as_grey, fit_image, inner_part, read_like

STRIP = 256  # rows that are enlarged at once: a hundred classes of a large photograph would fill the memory

Shares = NDArray[np.float32]


@dataclass(frozen=True)
class Preprocessing:
    """How pictures were prepared for the network."""

    size: int  # px, side of the square
    resize: Resize
    channels: int
    bits: int  # a channel, 8 or 16

    @classmethod
    def of_training(cls, images: NDArray[Any], resize: Resize) -> Preprocessing:
        """Derive the preprocessing from the images (N x size x size x C) that a network was trained on."""
        return cls(images.shape[1], resize, images.shape[-1], 8 * images.dtype.itemsize)

    def read(self, content: bytes) -> NDArray[Any]:
        """Decode a picture, H x W x C: grey or colours where the network knows one of them, else all its channels.

        Raises `PictureError` where the network cannot be shown such a picture.
        """
        return read_like(content, self.channels, self.bits)

    def network_input(self, picture: NDArray[Any]) -> NDArray[Any]:
        """A picture (H x W x C, as `read` gives it) as the network gets it: size x size x channels.

        Grey of 16 bits and colours of 8 stand for each other by their full ranges: 65535 is 255.
        """
        return fit_image(self._converted(picture), self.size, self.resize)

    def at_full_size(self, shares: Shares, shape: tuple[int, ...]) -> Iterator[tuple[slice, Shares]]:
        """The classes' probabilities over a picture, strip by strip from the top: rows, and classes x rows x W.

        Between the square's pixels they are interpolated, so that the edge of a class is as smooth as it is sure.

        Args:
            shares: over the square, classes x size x size.
            shape: of the picture, H x W x ...
        """
        height, width = shape[:2]
        inner = shares[:, *inner_part(shape, self.size, self.resize)]
        wide = _interpolated(inner, np.arange(width), width, axis=2)
        for start in range(0, height, STRIP):
            rows = np.arange(start, min(start + STRIP, height))
            yield slice(start, start + len(rows)), _interpolated(wide, rows, height, axis=1)

    def _converted(self, picture: NDArray[Any]) -> NDArray[Any]:
        if picture.dtype == np.uint16 and self.bits == 8:
            picture = _to_bytes(picture)
        if picture.shape[-1] != self.channels:
            picture = np.repeat(as_grey(picture), self.channels, axis=-1)
        return picture.astype(np.uint16) * 257 if picture.dtype == np.uint8 and self.bits == 16 else picture


def _to_bytes(picture: NDArray[Any]) -> NDArray[np.uint8]:
    """A picture with 8 bits a channel."""
    return picture if picture.dtype == np.uint8 else np.rint(picture / 257).astype(np.uint8)


def _interpolated(values: Shares, places: NDArray[np.int64], size: int, axis: int) -> Shares:
    """The values along an axis, stretched to `size`, at some of the stretched places; pixels' middles meet."""
    last = values.shape[axis] - 1
    position = ((places + 0.5) * (last + 1) / size - 0.5).clip(0, last)
    low = position.astype(np.int64)
    shape = [1, 1, 1]
    shape[axis] = len(places)
    weight = (position - low).astype(np.float32).reshape(shape)
    below, above = values.take(low, axis), values.take(np.minimum(low + 1, last), axis)
    stretched: Shares = below + (above - below) * weight
    return stretched
