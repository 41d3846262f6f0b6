"""How a picture was stored: what a person wants to know of it, read from its header."""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass

from PIL import Image

from .decode import TIFF_MAGIC
from .errors import PictureError
from .extra_bands import has_extra_band

_ORIENTATION = 0x0112  # the EXIF tag
UPRIGHT = 1
# One of these is in each file with an orientation, but for TIFFs: names of EXIF's segments and chunks, and of XMP's.
_EXIF_MARKS = (b"Exif", b"eXIf", b"EXIF", b"exif", b"rientation", b"adobe.xmp")
_SWAPPING = frozenset((5, 6, 7, 8))  # orientations that exchange height and width
_KINDS = {
    "1": "black and white",
    "L": "grey",
    "LA": "grey with alpha",
    "P": "palette",
    "PA": "palette",
    "RGB": "RGB",
    "RGBA": "RGB with alpha",
    "RGBX": "RGB",
    "CMYK": "CMYK",
    "YCbCr": "YCbCr",
    "LAB": "Lab",
}
_EXTRA_BAND = "with another band, no alpha"


@dataclass(frozen=True)
class Stored:
    """How a picture was stored."""

    kind: str  # "RGB", "grey", "palette", "16-bit grey", "TIFF of other channels", ...
    orientation: int  # EXIF orientation, 1 to 8; 1 is upright
    transparent: bool  # whether any of its pixels is not opaque

    @property
    def turned(self) -> bool:
        """Whether its EXIF orientation had it turned or mirrored."""
        return self.orientation != UPRIGHT

    @classmethod
    def of(cls, content: bytes) -> Stored:
        """Of a picture that could be read; what Pillow cannot read is a TIFF for which another reader was needed."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # odd metadata
                with Image.open(io.BytesIO(content)) as file:
                    deep = file.mode.startswith("I") or file.mode == "F"
                    kind = "16-bit grey" if deep else _KINDS.get(file.mode, file.mode)
                    orientation = _orientation(file)
                    if has_extra_band(file):
                        return cls(f"{kind.removesuffix(' with alpha')} {_EXTRA_BAND}", orientation, transparent=False)
                    return cls(kind, orientation, file.has_transparency_data and _any_transparent(file))
        except Exception:  # decoders raise anything
            return cls("TIFF of other channels", _tiff_orientation(content), transparent=False)


def read_orientation(content: bytes) -> int:
    """Read the EXIF orientation of a file, 1 to 8; 1 (upright) if it has none or cannot be read."""
    if not content.startswith(TIFF_MAGIC) and not any(mark in content for mark in _EXIF_MARKS):
        return UPRIGHT  # spares most masks a second look at their header
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(content)) as file:
                return _orientation(file)
    except Exception:  # decoders raise anything
        return _tiff_orientation(content)


def swaps_sides(orientation: int) -> bool:
    """Return whether turning an image upright exchanges its height and width."""
    return orientation in _SWAPPING


def fits_either_way(orientation: int, height: int, width: int) -> bool:
    """Return whether a mask's size leaves open if it covers the upright or the stored pixels of its image.

    Args:
        orientation: EXIF orientation of the image, 1 to 8.
        height: Of the image, px.
        width: Of the image, px.
    """
    return orientation != UPRIGHT and (height == width or not swaps_sides(orientation))


def reverse_orientation(orientation: int) -> int:
    """Return the orientation that undoes another one."""
    return {6: 8, 8: 6}.get(orientation, orientation)


def _orientation(file: Image.Image) -> int:
    return _known(file.getexif().get(_ORIENTATION, UPRIGHT))


def _tiff_orientation(content: bytes) -> int:
    """Read the orientation of a TIFF that Pillow cannot open; its reader turns it, too."""
    if not content.startswith(TIFF_MAGIC):
        return UPRIGHT
    from .tiff import orientation_of

    try:
        return _known(orientation_of(content))
    except PictureError:
        return UPRIGHT


def _known(orientation: int) -> int:
    return orientation if orientation in range(1, 9) else UPRIGHT


def _any_transparent(file: Image.Image) -> bool:
    lowest, _ = file.convert("RGBA").getchannel("A").getextrema()
    return isinstance(lowest, int | float) and lowest < 255
