"""Read the pixel size that a TIFF states in its resolution tags, in ImageJ's description or in OME-XML.

Slices of volumes are encoded as TIFFs, whose description states the pixel size of the volume.
"""

from __future__ import annotations

import html
import io
import json
import math
import re
from dataclasses import asdict, dataclass
from typing import Any

from .decode import TIFF_MAGIC
from .errors import ImageError
from .pixel_size import UNITS_PER_CENTIMETER, PixelSize
from .tiff import open_pages

DESCRIPTION, ORIENTATION, X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT = 270, 274, 282, 283, 296  # TIFF tags
NO_UNIT, INCH, CENTIMETER = 1, 2, 3  # values of RESOLUTION_UNIT
OME, IMAGEJ, TIFF = "OME-XML", "ImageJ", "TIFF"  # metadata that states a pixel size

# Resolutions that programs write into files by default or for printing, whatever the images show.
_PRINT_DPI = (1, 72, 75, 90, 96, 100, 120, 144, 150, 180, 200, 220, 240, 250, 300, 350, 360, 400, 500, 600, 720, 1200)
_DIGITS = 6  # significant digits of a size from a file, which removes rounding errors of fractions
_SLICE = "pixel of a slice: "  # start of the description of a slice
_MM_FROM = 1000.0  # µm, from which a size without a unit of its own is given in mm


@dataclass(frozen=True)
class StatedPixelSize:
    """Pixel size that a file states."""

    size: PixelSize
    source: str  # metadata that states it, such as `OME`, `IMAGEJ` or `TIFF`
    is_for_print: bool  # whether it is a usual resolution for printing, which does not describe the image

    @property
    def dpi(self) -> float:
        """Pixels per inch, in the direction of the width."""
        return 2.54 * UNITS_PER_CENTIMETER[self.size.unit] / self.size.width


def read_pixel_size(file: io.BufferedIOBase) -> StatedPixelSize | None:
    """Read the pixel size that a TIFF states. Return None for other files, and for TIFFs without one.

    The height and the width are those of the upright image.
    """
    if file.read(4) not in TIFF_MAGIC:
        return None
    try:
        with open_pages(file) as (pages, _):
            return find_pixel_size(pages[0].tags)
    except (ImageError, IndexError):
        return None


def find_pixel_size(tags: Any) -> StatedPixelSize | None:
    """Find the pixel size in the tags of a TIFF's first page; see `read_pixel_size`."""
    description, orientation = str(tags.valueof(DESCRIPTION, "")), tags.valueof(ORIENTATION)
    found = _find_slice_size(description) or _find_ome_size(description) or _find_tiff_size(tags, description)
    if found is None or orientation not in (5, 6, 7, 8):
        return found
    size = PixelSize(found.size.width, found.size.height, found.size.unit)
    return StatedPixelSize(size, found.source, found.is_for_print)


def describe_slice(stated: StatedPixelSize) -> str:
    """Describe the pixel size of a slice for the description of a TIFF, where `read_pixel_size` finds it."""
    return _SLICE + json.dumps(asdict(stated))


def read_ome_pixels(description: str) -> dict[str, str] | None:
    """Read the attributes PhysicalSize* of OME-XML; None if the description of a TIFF is not OME-XML."""
    if "<OME" not in description[:2000]:
        return None
    pixels = re.search(r"<(?:\w+:)?Pixels\b[^>]*>", description)
    attributes = re.findall(r'\b(PhysicalSize[XYZ](?:Unit)?)="([^"]*)"', pixels[0]) if pixels else []
    return {name: html.unescape(text) for name, text in attributes}


def read_imagej_unit(description: str) -> str:
    """Read the unit of the resolution that ImageJ writes to the description of a TIFF; empty if there is none."""
    found = re.search(r"^unit=(.+)$", description, re.MULTILINE) if description.startswith("ImageJ=") else None
    return found[1].strip() if found else ""


def read_resolution(tags: Any) -> tuple[float, float] | None:
    """Read the pixels per unit in x and y from the tags of a TIFF's page; None if they are missing or zero."""
    fractions = tags.valueof(X_RESOLUTION), tags.valueof(Y_RESOLUTION)
    if not all(isinstance(one, tuple) and len(one) == 2 and all(one) for one in fractions):
        return None
    (x, x_divisor), (y, y_divisor) = fractions
    return x / x_divisor, y / y_divisor


def _find_slice_size(description: str) -> StatedPixelSize | None:
    if not description.startswith(_SLICE):
        return None
    try:
        content = json.loads(description[len(_SLICE) :])
        return StatedPixelSize(PixelSize(**content.pop("size")), **content)
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def _find_ome_size(description: str) -> StatedPixelSize | None:
    sizes = read_ome_pixels(description) or {}
    sides = {}
    for axis in ("Y", "X"):
        unit = sizes.get(f"PhysicalSize{axis}Unit", "µm")  # the default of the OME schema
        try:
            side = float(sizes.get(f"PhysicalSize{axis}", ""))
        except ValueError:
            return None
        if unit not in UNITS_PER_CENTIMETER:  # such as "pixel" and "reference frame"
            return None
        sides[axis] = side / UNITS_PER_CENTIMETER[unit], unit
    return _create_size(sides["Y"][0], sides["X"][0], sides["X"][1], OME)


def _find_tiff_size(tags: Any, description: str) -> StatedPixelSize | None:
    resolution = read_resolution(tags)
    if resolution is None:
        return None
    unit, code = read_imagej_unit(description), tags.valueof(RESOLUTION_UNIT, NO_UNIT)
    if unit in UNITS_PER_CENTIMETER:
        width, height = (1 / (value * UNITS_PER_CENTIMETER[unit]) for value in resolution)
        shown = "µm" if UNITS_PER_CENTIMETER[unit] == UNITS_PER_CENTIMETER["µm"] else unit
        return _create_size(height, width, shown, IMAGEJ, may_be_for_print=unit in ("inch", "cm"))
    if code not in (INCH, CENTIMETER):
        return None
    width, height = ((2.54 if code == INCH else 1.0) / value for value in resolution)
    micrometers = width * UNITS_PER_CENTIMETER["µm"]
    return _create_size(height, width, "µm" if micrometers < _MM_FROM else "mm", TIFF, may_be_for_print=True)


def _create_size(
    height: float, width: float, unit: str, source: str, *, may_be_for_print: bool = False
) -> StatedPixelSize | None:
    """Create a size in a unit from a height and width in centimeters; None if they are not positive and finite."""
    if not all(math.isfinite(side) and side > 0 for side in (height, width)):
        return None
    is_for_print = may_be_for_print and any(math.isclose(2.54 / width, dpi, rel_tol=1e-3) for dpi in _PRINT_DPI)
    height, width = (float(f"{side * UNITS_PER_CENTIMETER[unit]:.{_DIGITS}g}") for side in (height, width))
    return StatedPixelSize(PixelSize(height, width, unit), source, is_for_print)
