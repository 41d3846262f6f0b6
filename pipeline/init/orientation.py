"""Guess whether masks of images with an EXIF orientation cover the upright or the stored pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.imaging.decode import read_image
from pipeline.imaging.errors import ImageError
from pipeline.imaging.mask_decoding import orient_mask
from pipeline.imaging.metadata import UPRIGHT, read_orientation, reverse_orientation
from pipeline.params.data.image_data import MaskOrientation
from pipeline.prepare.image_mask_pair import ImageMaskPair, PairCollection, UndeclaredValuesError
from pipeline.prepare.mask_sample import sample_evenly
from pipeline.prepare.read_file import read_file
from pipeline.wording import join_names, pluralize

MAX_IMAGES = 400  # images whose orientation is read
MAX_COMPARED = 40  # turned images that are decoded
CLEAR = 1.2  # minimum ratio of the contrasts along mask edges for choosing an orientation
CLEAR_SINGLE = 2.0  # the same for a single image, whose edges may match by chance
MAX_CONTRARY = 0.15  # if more than this share of images clearly fits the other orientation, none is chosen

_FITS = 1e-6  # contrast of a mask that has no edges, but the right size
_NAMED = 5  # files named in a sentence


@dataclass(frozen=True)
class _Fit:
    """Contrast of a turned image along its mask's edges in both orientations; 0 if their sizes differ."""

    file: str  # of the image
    upright: float
    stored: float
    mask_is_turned: bool  # by its own EXIF orientation, which `stored` then ignores

    @property
    def choice(self) -> MaskOrientation | None:
        """Orientation that clearly fits better; None if neither does."""
        return _choose(self.upright, self.stored, CLEAR_SINGLE)


def guess_orientation(
    collection: PairCollection, channels: int | None
) -> tuple[MaskOrientation | None, list[str]] | None:
    """Compare turned images with their masks in both orientations.

    Returns:
        The value of `data.mask_orientation`, which is None if both orientations fit or each fits some images, and
        notices. If no image is turned, None is returned instead.
    """
    turned = []
    files = [pair for pair in collection.pairs.values() if not pair.volume]  # slices are never turned
    for pair in sample_evenly(files, MAX_IMAGES):
        try:
            orientation = read_orientation(read_file(collection.folder, pair.image))
        except (OSError, ImageError):
            continue
        if orientation != UPRIGHT:
            turned.append((pair, orientation))
    sample = sample_evenly(turned, MAX_COMPARED)
    compared = [fit for pair, value in sample if (fit := _compare(pair, value, collection, channels))]
    if not compared:
        return None
    choice, notices = None, []
    if fits := [fit for fit in compared if not fit.mask_is_turned]:
        upright, stored = np.mean([(fit.upright, fit.stored) for fit in fits], axis=0).tolist()
        by_choice = [[fit.file for fit in fits if fit.choice == side] for side in ("stored", "upright")]
        contrary = min(by_choice, key=len)
        if len(contrary) <= MAX_CONTRARY * sum(map(len, by_choice)):
            choice = _choose(upright, stored, CLEAR)
        notices += _describe_choice(len(turned), choice, upright, stored, contrary)
    if doubtful := [fit.file for fit in compared if fit.mask_is_turned and fit.choice == "stored"]:
        notices.append(
            f"{pluralize(len(doubtful), 'mask has', 'masks have')} an EXIF orientation, but would fit without it: the "
            f"masks of {join_names(doubtful, _NAMED)}. Save them without EXIF data."
        )
    return choice, notices


def _choose(upright: float, stored: float, ratio: float) -> MaskOrientation | None:
    if upright > ratio * stored:
        return "upright"
    return "stored" if stored > ratio * upright else None


def _describe_choice(
    turned: int, choice: MaskOrientation | None, upright: float, stored: float, contrary: Sequence[str]
) -> list[str]:
    """Report the choice with the mean contrasts, and the images that clearly fit the other orientation."""
    found = f"{pluralize(turned, 'image is', 'images are')} turned by EXIF orientation"
    match = f"{found}. Their edges match the masks {'better' if choice else 'about as well'} "
    if choice == "upright":
        notices = [
            f"{match}upright (contrast {upright:.1f}) than as stored ({stored:.1f}), so mask_orientation: upright is "
            f"suggested."
        ]
    elif choice == "stored":
        notices = [
            f"{match}as stored (contrast {stored:.1f}) than upright ({upright:.1f}), so mask_orientation: stored is "
            f"suggested."
        ]
    elif contrary:
        notices = [f"{found}."]
    else:
        notices = [
            f"{match}upright as stored; look at some of them and write data.mask_orientation: upright or stored."
        ]
    if contrary:
        then = "" if choice else ", then write data.mask_orientation: upright or stored, which applies to all masks"
        notices.append(
            f"{pluralize(len(contrary), 'mask fits', 'masks fit')} in a different orientation than most: the masks of "
            f"{join_names(contrary, _NAMED)}. Save them like the others{then}."
        )
    return notices


def _compare(pair: ImageMaskPair, orientation: int, collection: PairCollection, channels: int | None) -> _Fit | None:
    """Compare a turned image with its mask. Return None if one of them cannot be read, or their sizes never match."""
    try:
        content = collection.masks.read(collection.folder, pair.mask)
        image = read_image(read_file(collection.folder, pair.image, collection.window), channels)
        mask = collection.masks.decode(content)
    except (OSError, ImageError, UndeclaredValuesError):
        return None
    gray = image.mean(axis=-1, dtype=np.float32) / (1 if image.dtype == np.uint8 else 257)
    own = read_orientation(content)
    other = orient_mask(mask, orientation if own == UPRIGHT else reverse_orientation(own))
    fit = _Fit(pair.image, _measure_contrast(gray, mask), _measure_contrast(gray, other), own != UPRIGHT)
    return fit if fit.upright or fit.stored else None


def _measure_contrast(gray: NDArray[np.float32], mask: NDArray[Any]) -> float:
    """Measure the mean gray-level difference between neighbors of different classes. Return 0 if the sizes differ."""
    if gray.shape != mask.shape:
        return 0.0
    changes = [np.abs(np.diff(gray, axis=axis))[np.diff(mask.astype(np.int16), axis=axis) != 0] for axis in (0, 1)]
    edges = np.concatenate(changes)
    return float(edges.mean()) + _FITS if edges.size else _FITS
