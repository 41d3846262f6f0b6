"""Read the metadata of an image file: kind of pixels, EXIF orientation, transparency and pixel size."""

from __future__ import annotations

import contextlib
import io
import warnings
from dataclasses import dataclass

from PIL import Image
from PIL.ExifTags import Base as Tag

from .decode import TIFF_MAGIC
from .errors import ImageError
from .extra_bands import has_extra_band
from .pixel_size import PixelSize
from .tiff import count_tiff_channels, read_tiff_orientation
from .tiff_resolution import read_pixel_size

UPRIGHT = 1  # EXIF orientation of images that need not be turned
# Names of EXIF and XMP blocks. Every file with an orientation contains one of them, except TIFFs.
_EXIF_MARKS = (b"Exif", b"eXIf", b"EXIF", b"exif", b"rientation", b"adobe.xmp")
_KINDS = {
    "1": "black and white",
    "L": "gray",
    "LA": "gray with alpha",
    "P": "palette",
    "PA": "palette",
    "RGB": "RGB",
    "RGBA": "RGB with alpha",
    "RGBX": "RGB",
    "CMYK": "CMYK",
    "YCbCr": "YCbCr",
    "LAB": "Lab",
}
_EXTRA_BAND = "with a last band that is not alpha"


@dataclass(frozen=True)
class ImageMetadata:
    """Metadata of an image file."""

    kind: str  # "RGB", "gray", "palette", "16-bit gray", "TIFF with other channels", ...
    orientation: int  # EXIF orientation, 1 to 8; 1 is upright
    has_transparency: bool  # whether any pixel is not opaque
    pixel: PixelSize | None = None  # size of a pixel, if the file states it

    @property
    def is_turned(self) -> bool:
        """Whether decoding turns or mirrors the image, because of its EXIF orientation."""
        return self.orientation != UPRIGHT

    @classmethod
    def read(cls, content: bytes) -> ImageMetadata:
        """Read the metadata of a valid file. If Pillow cannot open it, it is a TIFF with unusual channels."""
        orientation, stated = read_orientation(content), read_pixel_size(io.BytesIO(content))
        pixel = stated.size if stated and not stated.is_for_print else None
        try:
            with warnings.catch_warnings(action="ignore"), Image.open(io.BytesIO(content)) as file:
                if content.startswith(TIFF_MAGIC) and getattr(file, "n_frames", 1) > 1:  # Pillow sees only one channel
                    channels = count_tiff_channels(content)
                    return cls(f"TIFF with {channels} channels as pages", orientation, False, pixel)
                deep = file.mode.startswith("I") or file.mode == "F"
                kind = "16-bit gray" if deep else _KINDS.get(file.mode, file.mode)
                if has_extra_band(file):
                    return cls(f"{kind.removesuffix(' with alpha')} {_EXTRA_BAND}", orientation, False, pixel)
                return cls(kind, orientation, file.has_transparency_data and _any_transparent(file), pixel)
        except Exception:  # broken files can raise any exception
            return cls("TIFF with other channels", orientation, False, pixel)


def read_orientation(content: bytes) -> int:
    """Read the EXIF orientation of a file, 1 to 8. Return 1 (upright) if it has none or cannot be read."""
    if not content.startswith(TIFF_MAGIC) and not any(mark in content for mark in _EXIF_MARKS):
        return UPRIGHT  # avoids opening most files a second time
    orientation = UPRIGHT
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(io.BytesIO(content)) as file:
            orientation = file.getexif().get(Tag.Orientation, UPRIGHT)
    except Exception:  # broken files can raise any exception
        if content.startswith(TIFF_MAGIC):  # tifffile also reads channels that Pillow does not
            with contextlib.suppress(ImageError):
                orientation = read_tiff_orientation(content)
    return orientation if orientation in range(1, 9) else UPRIGHT


def swaps_sides(orientation: int) -> bool:
    """Return whether turning an image upright swaps its height and width."""
    return orientation in (5, 6, 7, 8)


def fits_either_way(orientation: int, height: int, width: int) -> bool:
    """Return whether a mask of this size could cover either the upright or the stored pixels of a turned image."""
    return orientation != UPRIGHT and (height == width or not swaps_sides(orientation))


def reverse_orientation(orientation: int) -> int:
    """Return the orientation that reverses another one."""
    return {6: 8, 8: 6}.get(orientation, orientation)


def _any_transparent(file: Image.Image) -> bool:
    lowest, _ = file.convert("RGBA").getchannel("A").getextrema()
    return isinstance(lowest, int | float) and lowest < 255
