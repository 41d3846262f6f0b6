"""Convert image files to network inputs, and network outputs back to the size of the image."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..imaging.decode import count_channels, is_tiff, read_for_network, to_gray
from ..imaging.errors import ImageError
from ..imaging.resize import FixedSize, NativeSize, Resizing
from ..imaging.tiff_image import TiffImage
from ..imaging.windows import Window, WindowedImage

MAX_WHOLE_BYTES = 1_000_000_000  # largest TIFF file that is read as a whole
STRIP_ROWS = 256  # number of rows enlarged at once; the probabilities of a whole image may not fit in memory

Probs = NDArray[np.float32]


@dataclass(frozen=True)
class Preprocessing:
    """Resizing, number of channels and bit depth of the images that a network was trained on.

    If bands were selected, or intensities scaled, `read_image` expects images to which the same was done.
    """

    resizing: Resizing
    channels: int
    bits: int  # per channel, 8 or 16
    selects_bands: bool = False  # whether the channels are selected bands of scenes
    scales_intensities: bool = False  # whether the values are intensities in a window, scaled to `bits` bits

    @classmethod
    def from_description(cls, description: dict[str, Any]) -> Preprocessing:
        """Create the preprocessing from the result of `dataclasses.asdict`, which may have been stored as JSON."""
        resizing = description["resizing"]
        if "size" in resizing:
            return cls(**{**description, "resizing": FixedSize(tuple(resizing["size"]), resizing["mode"])})
        return cls(**{**description, "resizing": NativeSize(resizing["downscale"])})

    def read_image(self, content: bytes) -> NDArray[Any]:
        """Decode a file to H x W x C: as gray or RGB if the network was trained on one of them, else with all channels.

        Raises:
            ImageError: The file is not an image, or not one that the network can segment. For instance, its bands were
                not selected, or its intensities not scaled.
        """
        image = read_for_network(content, self.channels, self.bits)
        self.check_values(image.dtype, count_channels(content) if self.selects_bands else image.shape[2])
        return image

    def check_values(self, dtype: np.dtype[Any], channels: int) -> None:
        """Raise `ImageError` if an image was certainly not prepared like the training images.

        Args:
            dtype: Type of the values, uint8 or uint16.
            channels: Number of channels of the image, before any conversion.
        """
        if self.scales_intensities and self.bits == 8 and dtype == np.uint16:
            raise ImageError(
                "has 16-bit values, but the network was trained on intensities that a window scaled to 8 bits; scale "
                "them with the same window"
            )
        if self.selects_bands and channels != self.channels:
            bands = f"{channels} band{'s' * (channels != 1)}"
            raise ImageError(
                f"has {bands}, but the network was trained on {self.channels} selected ones; select the same bands in "
                "the same order"
            )

    def open_image(self, path: Path) -> NDArray[Any] | TiffImage:
        """Open a file as an image (H x W x C); if possible, decode only the requested windows of a TIFF.

        Raises:
            ImageError: See `read_image`.
        """
        if isinstance(self.resizing, NativeSize) and is_tiff(path):
            try:
                image = TiffImage(path)
                if self._can_read_unconverted(image):
                    return image
                image.close()
            except ImageError:  # `read_image` can also read TIFFs without windowed access, and explains errors better
                if path.stat().st_size > MAX_WHOLE_BYTES:
                    raise
        return self.read_image(path.read_bytes())

    def _can_read_unconverted(self, image: TiffImage) -> bool:
        """Return whether `read_image` would return the file's channels unconverted."""
        channels = image.shape[2]
        if (self.channels, self.bits) in ((1, 8), (1, 16), (3, 8)):
            return channels == 1 or (image.is_rgb and image.dtype == np.uint8)
        return channels == self.channels

    def create_input(self, image: NDArray[Any]) -> NDArray[Any]:
        """Convert an image (H x W x C, from `read_image`) to the network's input, H x W x channels."""
        # Gray first, as in training: resizing rounds, so that the order matters.
        image = to_gray(image) if self.channels == 1 and image.dtype == np.uint8 else image
        return self.convert_values(self.resizing.fit_image(image))

    def convert_values(self, image: NDArray[Any]) -> NDArray[Any]:
        """Convert an image (H x W x C) to the network's number of channels and bit depth (H x W x channels).

        Conversion between 16-bit and 8-bit values scales the full range: 65535 corresponds to 255.
        """
        if image.dtype == np.uint16 and self.bits == 8:
            image = np.rint(image / 257).astype(np.uint8)
        if image.shape[-1] != self.channels:
            image = np.repeat(to_gray(image), self.channels, axis=-1)
        if image.dtype == np.uint8 and self.bits == 16:
            image = image.astype(np.uint16) * 257
        return image

    def restore_probs(self, strips: Iterable[Probs], shape: tuple[int, ...]) -> Iterator[Probs]:
        """Interpolate the probabilities of a network input to the size of its image, strip by strip, to save memory.

        Args:
            strips: The probabilities of the input from top to bottom, classes x rows x W each.
            shape: Shape of the image, starting with its height and width in px.

        Yields:
            The probabilities of the image from top to bottom, classes x rows x W each.
        """
        height, width = shape[:2]
        rows, columns = self.resizing.locate_inner(shape)
        inner_height, inner_width = rows.stop - rows.start, columns.stop - columns.start
        below, weights = _locate_neighbors(inner_height, height)
        above = np.minimum(below + 1, inner_height - 1)
        column_neighbors = _locate_neighbors(inner_width, width)
        known: Probs | None = None  # rows of the input that are still needed, enlarged to the image's width
        first, done, top = 0, 0, 0  # first known row, number of yielded rows of the image, first row of the next strip
        for strip in strips:
            inner = strip[:, max(0, rows.start - top) : max(0, rows.stop - top), columns]
            top += strip.shape[1]
            if (inner_height, inner_width) == (height, width):
                yield inner
                continue
            wide = _interpolate(inner, *column_neighbors, axis=2)
            known = wide if known is None else np.concatenate([known, wide], axis=1)
            ready = int(np.searchsorted(above, first + known.shape[1]))
            for start in range(done, ready, STRIP_ROWS):
                stop = min(start + STRIP_ROWS, ready)
                yield _interpolate(known, below[start:stop] - first, weights[start:stop], axis=1)
            done = ready
            if done < height:
                unused = min(max(0, int(below[done]) - first), known.shape[1])
                known, first = known[:, unused:], first + unused

    def classify_pixels(self, strips: Iterable[Probs], shape: tuple[int, ...]) -> NDArray[np.uint8]:
        """Return the index of each pixel's most probable class, H x W; for the arguments, see `restore_probs`."""
        return np.concatenate([strip.argmax(axis=0).astype(np.uint8) for strip in self.restore_probs(strips, shape)])


@dataclass(frozen=True)
class NetworkInput:
    """Network input (H x W x channels) for an image of any size, which converts windows on request."""

    image: WindowedImage
    preprocessing: Preprocessing
    resizing: NativeSize

    @property
    def shape(self) -> tuple[int, ...]:
        """Height and width in px, and number of channels."""
        return *self.resizing.compute_inner_size(self.image.shape), self.preprocessing.channels

    def __getitem__(self, window: Window) -> NDArray[Any]:
        """Return a window of the input, h x w x channels."""
        image = _GrayImage(self.image) if self.preprocessing.channels == 1 else self.image
        return self.preprocessing.convert_values(self.resizing.fit_window(image, window))


@dataclass(frozen=True)
class _GrayImage:
    """Image (H x W x 1) that converts the windows of an RGB image to gray; gray images are unchanged."""

    image: WindowedImage

    @property
    def shape(self) -> tuple[int, ...]:
        return *self.image.shape[:2], 1

    def __getitem__(self, window: Window) -> NDArray[Any]:
        return to_gray(self.image[window])


def measure_class_shares(labels: NDArray[np.uint8], num_classes: int) -> NDArray[np.float64]:
    """Measure each class's share of the pixels of a mask, 0 to 1."""
    return np.bincount(labels.ravel(), minlength=num_classes) / labels.size


def _locate_neighbors(length: int, size: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Locate each pixel of an axis resized from `length` to `size`, with pixel centers aligned.

    Returns:
        The indices of the lower neighbors on the original axis, and the weights of the upper neighbors, 0 to 1.
    """
    position = ((np.arange(size) + 0.5) * length / size - 0.5).clip(0, length - 1)
    below = position.astype(np.int64)
    return below, (position - below).astype(np.float32)


def _interpolate(values: Probs, below: NDArray[np.int64], weights: NDArray[np.float32], axis: int) -> Probs:
    """Interpolate linearly along an axis, between the elements at the indices `below` and the next ones."""
    shape = [1, 1, 1]
    shape[axis] = len(below)
    first, second = values.take(below, axis), values.take(np.minimum(below + 1, values.shape[axis] - 1), axis)
    interpolated: Probs = first + (second - first) * weights.reshape(shape)
    return interpolated
