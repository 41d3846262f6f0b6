"""Find an object that vanishes at the prepared size, and crop its surroundings before and after resizing."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pipeline.imaging.resize import Resizing

MIN_SIDE = 48  # px of the original image that are shown at least
OBJECT_SIDES = 4  # how many times the longer side of the object is shown
PREPARED_SIDE = 16  # px of the prepared image that are shown at least


@dataclass(frozen=True, eq=False)
class LostObject:
    """An object without a pixel at the prepared size, and its surroundings before and after resizing.

    The arrays after resizing have the size of those before it; each prepared pixel is repeated.
    """

    id: str  # of the pair
    name: str  # of the class
    area: int  # px in the original mask
    image: NDArray[Any]  # H x W x C, part of the original image
    mask: NDArray[np.uint8]  # H x W, part of the original mask
    prepared_image: NDArray[Any]  # H x W x C, the same part as a network sees it
    prepared_mask: NDArray[np.uint8]  # H x W


def crop_lost_object(
    name: str, class_name: str, index: int, image: NDArray[Any], mask: NDArray[np.uint8], resizing: Resizing
) -> LostObject | None:
    """Crop the surroundings of the largest object that vanishes at the prepared size.

    Args:
        name: Id of the pair.
        class_name: Name of the objects' class.
        index: Index of the objects' class.
        image: H x W x C, the original image.
        mask: H x W, the original mask.
        resizing: Resizing to the prepared size.

    Returns:
        The object; None if every object of the class has a pixel at the prepared size.
    """
    regions, number = ndimage.label(mask == index, np.ones((3, 3)), output=np.int32)
    kept = np.bincount(resizing.resize_mask(regions).ravel(), minlength=number + 1)[1:]
    if kept.all():
        return None
    boxes = ndimage.find_objects(regions)
    areas = {place: int((regions[boxes[place]] == place + 1).sum()) for place in np.flatnonzero(kept == 0).tolist()}
    largest = max(areas, key=areas.__getitem__)
    box = boxes[largest]
    inner_size = resizing.compute_inner_size(mask.shape)
    scale = max(side / inner for side, inner in zip(mask.shape, inner_size, strict=True))
    longest = max(places.stop - places.start for places in box)
    shown = math.ceil(max(MIN_SIDE, OBJECT_SIDES * longest, PREPARED_SIDE * scale))
    rows, columns = (_widen(places, shown, side) for places, side in zip(box, mask.shape, strict=True))
    inner = resizing.fit_image(image)[resizing.locate_inner(mask.shape)]
    near = np.ix_(
        *(
            ((np.arange(places.start, places.stop) + 0.5) * small / side).astype(np.int64)
            for places, side, small in zip((rows, columns), mask.shape, inner_size, strict=True)
        )
    )
    return LostObject(
        id=name,
        name=class_name,
        area=areas[largest],
        image=image[rows, columns],
        mask=mask[rows, columns],
        prepared_image=inner[near],
        prepared_mask=resizing.resize_mask(mask)[near],
    )


def _widen(places: slice, length: int, side: int) -> slice:
    """Widen a range of rows or columns to `length` inside an image with `side` of them."""
    length = min(length, side)
    start = (places.start + places.stop - length) // 2
    start = min(max(start, 0), side - length)
    return slice(start, start + length)
