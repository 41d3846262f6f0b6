"""From an image file to a network's input, and from the network's output back to the image's size."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..imaging.decode import read_for_network, to_gray
from ..imaging.resize import FixedSize, NativeSize, Resizing

STRIP_ROWS = 256  # enlarged at once: at full size, the probabilities of a hundred classes could fill the memory

Probs = NDArray[np.float32]


@dataclass(frozen=True)
class Preprocessing:
    """How images were prepared for a network."""

    resizing: Resizing
    channels: int
    bits: int  # per channel, 8 or 16

    @classmethod
    def from_description(cls, description: dict[str, Any]) -> Preprocessing:
        """Create the preprocessing from what `dataclasses.asdict` returned, also after it was stored as JSON."""
        resizing = description["resizing"]
        if "size" in resizing:
            return cls(**{**description, "resizing": FixedSize(tuple(resizing["size"]), resizing["mode"])})
        return cls(**{**description, "resizing": NativeSize(resizing["downscale"])})

    def read_image(self, content: bytes) -> NDArray[Any]:
        """Decode a file to H x W x C: gray or RGB if the network knows one of them, else all channels.

        Raises:
            ImageError: The file is not an image, or not one that the network can segment.
        """
        return read_for_network(content, self.channels, self.bits)

    def create_input(self, image: NDArray[Any]) -> NDArray[Any]:
        """Convert an image (H x W x C, from `read_image`) to the network's input, H x W x channels.

        16-bit gray and 8-bit colors are converted into each other by their full ranges: 65535 is 255.
        """
        if image.dtype == np.uint16 and self.bits == 8:
            image = np.rint(image / 257).astype(np.uint8)
        if image.shape[-1] != self.channels:
            image = np.repeat(to_gray(image), self.channels, axis=-1)
        if image.dtype == np.uint8 and self.bits == 16:
            image = image.astype(np.uint16) * 257
        return self.resizing.fit_image(image)

    def restore_probs(self, probs: Probs, shape: tuple[int, ...]) -> Iterator[tuple[slice, Probs]]:
        """Interpolate probabilities, classes x H x W of the input, to an image's `shape` in strips from the top.

        Yields:
            Rows of the image, and classes x rows x W.
        """
        height, width = shape[:2]
        inner = probs[:, *self.resizing.locate_inner(shape)]
        wide = _interpolate(inner, np.arange(width), width, axis=2)
        for start in range(0, height, STRIP_ROWS):
            rows = np.arange(start, min(start + STRIP_ROWS, height))
            yield slice(start, start + len(rows)), _interpolate(wide, rows, height, axis=1)

    def classify_pixels(self, probs: Probs, shape: tuple[int, ...]) -> NDArray[np.uint8]:
        """Return the index of the most probable class of each pixel of an image, H x W; see `restore_probs`."""
        labels = np.empty(shape[:2], np.uint8)
        for rows, strip in self.restore_probs(probs, shape):
            labels[rows] = strip.argmax(axis=0)
        return labels


def measure_class_shares(labels: NDArray[np.uint8], num_classes: int) -> NDArray[np.float64]:
    """Measure the share of the pixels that each class has, 0 to 1."""
    return np.bincount(labels.ravel(), minlength=num_classes) / labels.size


def _interpolate(values: Probs, indices: NDArray[np.int64], size: int, axis: int) -> Probs:
    """Interpolate linearly along an axis enlarged to `size`, at some indices of it; pixel centers are aligned."""
    last = values.shape[axis] - 1
    position = ((indices + 0.5) * (last + 1) / size - 0.5).clip(0, last)
    low = position.astype(np.int64)
    shape = [1, 1, 1]
    shape[axis] = len(indices)
    weight = (position - low).astype(np.float32).reshape(shape)
    below, above = values.take(low, axis), values.take(np.minimum(low + 1, last), axis)
    interpolated: Probs = below + (above - below) * weight
    return interpolated
