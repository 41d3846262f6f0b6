"""Suggest `data.pixel_size` from the pixel sizes that image files state."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from pipeline.imaging.tiff_resolution import StatedPixelSize
from pipeline.wording import join_names, pluralize

_MAX_NAMED = 3  # sizes in a sentence


def suggest_pixel_size(
    stated: Sequence[StatedPixelSize | None],
) -> tuple[float | list[float] | None, str | None, list[str]]:
    """Suggest `data.pixel_size` and `data.pixel_unit`, null if the images state no common size, and list notices."""
    common = find_common_size(stated)
    if common is None:
        return None, None, [*describe_stated_sizes(stated)]
    size = common.size
    notice = (
        f"data.pixel_size is {size.describe()} in the {common.source} metadata of all images that were opened. If that "
        f"is wrong, correct it, or leave data.pixel_size and data.pixel_unit empty for distances in px."
    )
    return size.height if size.height == size.width else [size.height, size.width], size.unit, [notice]


def find_common_size(stated: Sequence[StatedPixelSize | None]) -> StatedPixelSize | None:
    """Return the pixel size of all images; None if some state none, another one, or a resolution for printing."""
    first = stated[0] if stated else None
    if first is None or any(one is None or one.is_for_print or first.size.contradicts(one.size) for one in stated):
        return None
    return first


def describe_stated_sizes(stated: Sequence[StatedPixelSize | None]) -> Iterator[str]:
    """Describe why no pixel size is proposed although files state sizes, in at most one sentence."""
    sizes = Counter(one.size.describe() for one in stated if one is not None and not one.is_for_print)
    printed = Counter(f"{one.dpi:.4g} dpi" for one in stated if one is not None and one.is_for_print)
    if sizes:
        counts = [f"{size} in {pluralize(count, 'image')}" for size, count in sizes.most_common()]
        if without := len(stated) - sizes.total():
            counts.append(f"no size in {pluralize(without, 'image')}")
        yield (
            f"Not all images state the same pixel size: {join_names(counts, _MAX_NAMED)}. data.pixel_size is one size "
            f"for all images, so none is proposed. Resample the images to one pixel size, or leave distances in px."
        )
    elif printed:
        yield (
            f"The images state {join_names(printed, _MAX_NAMED)}, which is usually a resolution for printing, so no "
            f"data.pixel_size is proposed. If it is that of a scanner, write data.pixel_size and data.pixel_unit."
        )
