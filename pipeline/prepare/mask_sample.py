"""Sample evenly spaced items, and decode the masks of a sample of pairs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from pipeline.imaging.errors import ImageError
from pipeline.prepare.image_mask_pair import ImageMaskPair, PairCollection, UndeclaredValuesError
from pipeline.volumes.open_volume import open_volume
from pipeline.volumes.slice_file import SliceReference

Item = TypeVar("Item")


def sample_masks(
    pairs: Sequence[ImageMaskPair], collection: PairCollection, max_masks: int, max_pixels: int
) -> Iterator[tuple[ImageMaskPair, NDArray[np.uint8]]]:
    """Decode evenly spaced masks one at a time, because a hundred large masks may not fit into memory.

    Masks that cannot be decoded are skipped.

    Args:
        pairs: Pairs to choose from.
        collection: Collection of the pairs.
        max_masks: Maximum number of masks.
        max_pixels: Maximum number of pixels in all masks together. The first mask may have more.

    Yields:
        A pair, and the class indices and IGNORE (H x W) of its mask.
    """
    pixels = 0
    for pair in _choose_order(sample_evenly(pairs, max_masks), collection, max_pixels):
        try:
            mask = collection.masks.decode(collection.masks.read(collection.folder, pair.mask))
        except (OSError, ImageError, UndeclaredValuesError):
            continue
        if pixels and pixels + mask.size > max_pixels:
            return
        pixels += mask.size
        yield pair, mask


def _choose_order(
    pairs: Sequence[ImageMaskPair], collection: PairCollection, max_pixels: int
) -> Sequence[ImageMaskPair]:
    """Order pairs so that those before the maximum number of pixels is reached are spread over all pairs.

    Slices stay in order, because each change of the volume takes as long as decompressing it. They usually have the
    same size, so their number is limited instead.
    """
    if not pairs or (reference := SliceReference.parse(pairs[0].image)) is None:
        return _reorder(pairs)
    try:
        first = open_volume(collection.folder / reference.file, reference.axis)
    except (OSError, ImageError):
        return pairs
    return sample_evenly(pairs, max(1, max_pixels // (first.height * first.width)))


def _reorder(items: Sequence[ImageMaskPair]) -> list[ImageMaskPair]:
    """Reorder a sequence so that its first n items, for any n, are spread over the whole sequence."""
    width = len(items).bit_length()
    places = (int(f"{number:0{width}b}"[::-1], 2) for number in range(2**width))
    return [items[place] for place in places if place < len(items)]


def sample_evenly(items: Sequence[Item], most: int) -> list[Item]:
    """Return at most `most` evenly spaced items, so that a sorted folder's films or patients are all represented."""
    if len(items) <= most:
        return list(items)
    return [items[round(place)] for place in np.linspace(0, len(items) - 1, most)]
