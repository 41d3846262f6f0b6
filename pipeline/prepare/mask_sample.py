"""Sample evenly spaced items, and decode the masks of a sample of pairs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from pipeline.imaging.errors import ImageError
from pipeline.prepare.image_mask_pair import ImageMaskPair, PairCollection, UndeclaredValuesError

Item = TypeVar("Item")


def sample_masks(
    pairs: Sequence[ImageMaskPair], collection: PairCollection, max_masks: int, max_pixels: int
) -> Iterator[NDArray[np.uint8]]:
    """Yield the class indices of evenly spaced masks, one at a time: a hundred large ones exceed the memory.

    Masks that cannot be decoded are left out. `max_pixels` is of all together, but the first mask may have more.
    """
    pixels = 0
    for pair in _reorder(sample_evenly(pairs, max_masks)):
        try:
            mask = collection.masks.decode(collection.masks.read(collection.folder, pair.mask))
        except (OSError, ImageError, UndeclaredValuesError):
            continue
        if pixels and pixels + mask.size > max_pixels:
            return
        pixels += mask.size
        yield mask


def _reorder(items: Sequence[ImageMaskPair]) -> list[ImageMaskPair]:
    """Reorder a sequence so that its beginning, of any length, is spread over all of it."""
    width = len(items).bit_length()
    places = (int(f"{number:0{width}b}"[::-1], 2) for number in range(2**width))
    return [items[place] for place in places if place < len(items)]


def sample_evenly(items: Sequence[Item], most: int) -> list[Item]:
    """Return at most `most` evenly spaced items, which cover a folder that is sorted by film or patient."""
    if len(items) <= most:
        return list(items)
    return [items[round(place)] for place in np.linspace(0, len(items) - 1, most)]
