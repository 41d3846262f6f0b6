"""A volume, whose slices are read one at a time, so that it may be larger than memory."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipeline.imaging.errors import ImageError
from pipeline.imaging.tiff_resolution import StatedPixelSize

MAX_SLICES = 10_000  # slices of a volume
_KINDS = "buif"  # boolean, integer and floating-point values
_MAX_VALUE_BYTES = 8


@dataclass(frozen=True, eq=False)
class Slice:
    """A slice as it is in the file."""

    values: NDArray[Any]  # H x W x C
    is_rgb: bool = False  # whether the channels are red, green, blue and possibly others
    extra_samples: tuple[int, ...] = ()  # TIFF's codes for the meaning of the other channels of an RGB image
    is_white_zero: bool = False  # whether viewers show 0 as white
    palette: NDArray[np.uint16] | None = None  # 3 x 256 colors of the values


class Volume(ABC):
    """A volume, or a stack of images, along one of its axes.

    Attributes:
        num_slices: Number of slices.
        height: Height of a slice in px.
        width: Width of a slice in px.
        channels: Number of channels of a slice.
        dtype: Type of the values that `read_slice` returns.
        pixel: Size of a pixel of a slice; None if the file states none.
        corners: Positions of the corner voxels in millimeters (8 x 3), in an order that does not depend on the order in
            which a file stores its voxels; None if the format has no positions.
        voxel_side: Shortest side of a voxel in the unit of the corners.
        has_own_grid: Whether the volume states all its slices. Otherwise, it is a mask with the slices of its image.
    """

    num_slices: int
    height: int
    width: int
    channels: int
    dtype: np.dtype[Any]
    pixel: StatedPixelSize | None = None
    corners: NDArray[np.float64] | None = None
    voxel_side: float = 1.0
    has_own_grid: bool = True

    @abstractmethod
    def read_slice(self, index: int) -> Slice:
        """Read a slice. Raise `ImageError` if its part of the file is missing or broken."""

    def read_labels(self, index: int) -> Slice:
        """Read a slice of a mask; see `read_slice`. Values that are fractional only because of scaling are rounded."""
        return self.read_slice(index)

    def place_on(self, image: Volume) -> Volume:  # noqa: ARG002
        """Return a mask with the slices of its image, which is the volume itself if it has its own grid.

        Raises:
            ImageError: The mask does not fit the image.
        """
        return self

    def count_missing(self) -> tuple[int, int]:
        """Count the parts that are not stored, so that their voxels have a constant value, and all parts."""
        return 0, 1

    def describe_shape(self) -> str:
        """Format the shape, such as `512 × 512 px in 40 slices`."""
        channels = f" with {self.channels} channels" if self.channels > 1 else ""
        return f"{self.width} × {self.height} px in {self.num_slices} slice{'s' * (self.num_slices != 1)}{channels}"

    def measure_range(self) -> tuple[float, float]:
        """Measure the lowest and the highest finite intensity, which takes as long as reading the whole volume.

        Raises:
            ImageError: Part of the file is broken, or no value is finite.
        """
        low, high = math.inf, -math.inf
        for index in range(self.num_slices):
            values = self.read_slice(index).values
            finite = values[np.isfinite(values)]
            if finite.size:
                low, high = min(low, finite.min().item()), max(high, finite.max().item())
        if low > high:
            raise ImageError("has no finite values")
        return low, high

    def _check_shape(self) -> None:
        """Raise `ImageError` if the volume has no slices, or too many or too large ones, or unsupported values."""
        if min(self.num_slices, self.height, self.width, self.channels) < 1:
            raise ImageError("has no voxels")
        if self.num_slices > MAX_SLICES:
            raise ImageError(f"has {self.num_slices:,} slices along this axis; at most {MAX_SLICES:,} are supported")
        if self.height * self.width * self.channels > (limit := 2 * (Image.MAX_IMAGE_PIXELS or 0)):
            raise ImageError(f"has slices of {self.width:,} × {self.height:,} px; the limit is {limit:,} values")
        if self.dtype.kind not in _KINDS or self.dtype.itemsize > _MAX_VALUE_BYTES:
            raise ImageError(f"has values of type {self.dtype}; save it with integers or floating-point numbers")


@contextmanager
def convert_errors() -> Iterator[None]:
    """Convert the exceptions that a broken file can cause to `ImageError`. `OSError` is not converted."""
    try:
        yield
    except (ImageError, OSError):
        raise
    except Exception as error:  # broken files can raise any exception
        raise ImageError(f"is not a complete volume ({str(error)[:200] or type(error).__name__})") from None
