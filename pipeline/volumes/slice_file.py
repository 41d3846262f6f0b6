"""Slices of volumes as image files in memory.

A slice is encoded as a TIFF with one image. Therefore, all code that decodes and checks the contents of image and mask
files also applies to slices, and the reference to a slice can be used wherever the path of a file is.
"""

from __future__ import annotations

import io
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipeline.imaging.errors import ImageError
from pipeline.imaging.tiff_resolution import StatedPixelSize, describe_slice
from pipeline.volumes.volume import Slice, Volume

if TYPE_CHECKING:  # processes that decode images do not import parameters
    from pipeline.params.data.image_data import Intensities

_REFERENCE = re.compile(r"(.+)\[([a-z])=([0-9]+)(?: of (.+))?\]", re.DOTALL)
_MIN_DIGITS = 3  # of the index in a name
_UNSCALED = (np.bool_, np.uint8, np.uint16)  # types of intensities that need no window


@dataclass(frozen=True)
class SliceReference:
    """A slice of a volume. As text, it takes the place of a file's path, such as `scan.nii.gz[z=12]`.

    A mask without a grid of its own has the slices of its image, such as `mask.dcm[z=12 of images/scan]`.
    """

    file: str
    axis: str
    index: int
    image: str = ""  # the image of a mask without its own grid

    def __str__(self) -> str:
        """Format the reference."""
        return f"{self.file}[{self.axis}={self.index}{self.image and f' of {self.image}'}]"

    @classmethod
    def parse(cls, text: str) -> SliceReference | None:
        """Parse a reference. Return None for the path of a file, whose ending is that of an image."""
        found = _REFERENCE.fullmatch(text)
        return cls(found[1], found[2], int(found[3]), found[4] or "") if found else None


def format_slice_name(volume: str, index: int, num_slices: int) -> str:
    """Format the name of a slice, with enough leading zeros that the names of a volume's slices are in order."""
    return f"{volume}_{index:0{max(_MIN_DIGITS, len(str(num_slices - 1)))}}"


@dataclass(frozen=True)
class IntensityWindow:
    """Linear mapping of intensities to gray values: `low` becomes 0, and `high` the highest value of `bits` bits."""

    low: float
    high: float
    bits: int = 8

    def apply(self, values: NDArray[Any]) -> NDArray[Any]:
        """Map intensities of any type to uint8 or uint16. Intensities outside the window are clipped.

        Raises:
            ImageError: A value is NaN or infinite.
        """
        if num_undefined := int(values.size - np.isfinite(values).sum()):
            raise ImageError(f"has {num_undefined:,} NaN or infinite values; replace them by numbers")
        highest = 2**self.bits - 1
        # As float64 first, because the limits may be outside the range of the values' type.
        scaled = (values.astype(np.float64).clip(self.low, self.high) - self.low) * (highest / (self.high - self.low))
        gray: NDArray[Any] = np.rint(scaled).astype(np.uint8 if self.bits == 8 else np.uint16)
        return gray


def create_window(settings: Intensities | None) -> IntensityWindow | None:
    """Create the mapping of intensities that `data.slices` or `data.scenes` describes; None without a window."""
    return IntensityWindow(*settings.window, settings.bits) if settings and settings.window else None


def read_slice(volume: Volume, index: int, window: IntensityWindow | None = None) -> bytes:
    """Read a slice as the content of an image file.

    Args:
        volume: The volume.
        index: Index of the slice.
        window: Mapping of the intensities to gray values; None to keep them as they are, such as those of masks.

    Raises:
        ImageError: The slice cannot be read, or has undefined intensities.
    """
    if index >= volume.num_slices:  # the reference comes from another volume, such as the image of a mask
        raise ImageError(f"has only {volume.num_slices} slices")
    if window is None:
        return encode_slice(volume.read_labels(index), volume.pixel)
    found = volume.read_slice(index)
    return encode_slice(replace(found, values=window.apply(found.values), palette=None), volume.pixel)


def needs_window(volume: Volume) -> bool:
    """Return whether the intensities of a volume are gray values only after a window was chosen."""
    return volume.dtype.type not in _UNSCALED


def encode_slice(found: Slice, pixel: StatedPixelSize | None) -> bytes:
    """Encode a slice as an uncompressed TIFF. Channels that are not colors are stored as pages."""
    import tifffile

    pages = [found.values] if found.is_rgb else list(np.moveaxis(found.values, -1, 0))
    photometric = "rgb" if found.is_rgb else "miniswhite" if found.is_white_zero else "minisblack"
    if found.palette is not None:
        photometric = "palette"
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer) as writer:
        for number, page in enumerate(pages):
            writer.write(
                np.ascontiguousarray(page),
                photometric=photometric,
                planarconfig="contig" if found.is_rgb else None,
                colormap=found.palette,
                extrasamples=found.extra_samples if found.is_rgb else None,
                description=describe_slice(pixel) if pixel and number == 0 else None,
                metadata=None,
                software=False,
            )
    return buffer.getvalue()
