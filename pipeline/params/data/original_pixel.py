"""Size of a pixel of the original images, from the `data` section.

It is not a property of the section, so that training does not depend on code about units.
"""

from __future__ import annotations

from pipeline.imaging.pixel_size import PixelSize
from pipeline.params.data import Data
from pipeline.params.data.image_data import ImageMaskData


def find_original_pixel(data: Data | ImageMaskData) -> PixelSize | None:
    """Return the size of a pixel of the original images; None if `data.pixel_size` is not set."""
    if not isinstance(data, ImageMaskData) or data.pixel_size is None or data.pixel_unit is None:
        return None
    height, width = data.pixel_size if isinstance(data.pixel_size, list) else (data.pixel_size, data.pixel_size)
    return PixelSize(height, width, data.pixel_unit)
