"""Size of a pixel of the original images, from the `data` section.

It is not a property of the section, so that training does not depend on code about units.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pipeline.imaging.pixel_size import PixelSize
from pipeline.params.data import Data
from pipeline.params.data.image_data import ImageMaskData
from pipeline.wording import join_names, pluralize

_MAX_NAMED = 3  # files in a sentence


def find_original_pixel(data: Data | ImageMaskData) -> PixelSize | None:
    """Return the size of a pixel of the original images; None if `data.pixel_size` is not set."""
    if not isinstance(data, ImageMaskData) or data.pixel_size is None or data.pixel_unit is None:
        return None
    height, width = data.pixel_size if isinstance(data.pixel_size, list) else (data.pixel_size, data.pixel_size)
    return PixelSize(height, width, data.pixel_unit)


def describe_contradictions(declared: PixelSize, stated: Mapping[str, PixelSize]) -> Iterator[str]:
    """Describe that files state another pixel size than `data.pixel_size`, in at most one sentence.

    Args:
        declared: The size in `data.pixel_size`.
        stated: The sizes that files state, by file.
    """
    others = [f"{file} with {pixel.describe()}" for file, pixel in stated.items() if declared.contradicts(pixel)]
    if others:
        yield (
            f"{pluralize(len(others), 'image states', 'images state')} another pixel size than data.pixel_size, "
            f"which is {declared.describe()}: {join_names(others, _MAX_NAMED)}. Distances and areas are computed with "
            f"data.pixel_size: correct it, or the files' metadata."
        )
