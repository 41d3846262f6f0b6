"""Decode a sample of a collection's masks, one at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.imaging.errors import ImageError
from pipeline.prepare.pairs import Collection, Pair, UndeclaredError
from pipeline.prepare.sampling import sample_evenly


def sample_masks(
    pairs: Sequence[Pair], collection: Collection, max_masks: int, max_pixels: int
) -> Iterator[NDArray[np.uint8]]:
    """Yield the class indices of evenly spaced masks, one at a time: a hundred large ones exceed the memory.

    Args:
        pairs: whose masks to decode; masks that cannot be decoded are left out.
        collection: that they are from.
        max_masks: how many to decode.
        max_pixels: of all masks together; the first mask may have more.
    """
    pixels = 0
    for pair in _spread(sample_evenly(pairs, max_masks)):
        mask = _decode(pair, collection)
        if mask is None:
            continue
        if pixels and pixels + mask.size > max_pixels:
            return
        pixels += mask.size
        yield mask


def _spread(items: Sequence[Pair]) -> list[Pair]:
    """Reorder a sequence so that its beginning, of any length, is spread over all of it."""
    width = len(items).bit_length()
    places = (int(f"{number:0{width}b}"[::-1], 2) for number in range(2**width))
    return [items[place] for place in places if place < len(items)]


def _decode(pair: Pair, collection: Collection) -> NDArray[np.uint8] | None:
    try:
        return collection.masks.class_indices(collection.masks.content(collection.folder, pair.truth))
    except (OSError, ImageError, UndeclaredError):
        return None
