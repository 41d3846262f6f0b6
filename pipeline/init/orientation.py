"""Guess which pixels of turned images their masks cover: those that viewers show, or those that are stored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.data.mask_decoding import orient_mask
from pipeline.data.picture_error import PictureError
from pipeline.data.pictures import read_image
from pipeline.data.stored import UPRIGHT, read_orientation
from pipeline.prepare.files import content_of
from pipeline.prepare.pairs import Collection, Pair, UndeclaredError
from pipeline.prepare.sampling import sample_evenly

MAX_IMAGES = 400  # whose orientation is read
MAX_COMPARED = 40  # turned images that are decoded
CLEAR = 1.2  # ratio of the contrasts along mask edges, from which on one of the two is chosen


@dataclass(frozen=True)
class OrientationGuess:
    """Which pixels the masks cover.

    Attributes:
        turned: images that have an EXIF orientation, of those that were opened.
        choice: as `data.mask_orientation` has it; None where both fit.
        contrasts: mean gray-level change of the images along the edges of their masks, if these are upright and if they
            cover the stored pixels.
    """

    turned: int
    choice: Literal["upright", "stored"] | None
    contrasts: tuple[float, float]

    def sentence(self) -> str:
        """Tell what was guessed, and why."""
        upright, stored = self.contrasts
        found = (
            f"{self.turned} images are turned by their EXIF orientation. Their edges match the masks "
            f"{'better' if self.choice else 'about as well'} "
        )
        if self.choice == "upright":
            return f"{found}upright (contrast {upright:.1f}, as stored {stored:.1f}): mask_orientation: upright."
        if self.choice == "stored":
            return f"{found}as stored (contrast {stored:.1f}, upright {upright:.1f}): mask_orientation: stored."
        return f"{found}upright as stored; look at some of them and write data.mask_orientation: upright or stored."


def guess_orientation(collection: Collection, channels: int | None) -> OrientationGuess | None:
    """Compare turned images with their masks in both orientations; None where no image is turned."""
    turned = []
    for pair in sample_evenly(list(collection.pairs.values()), MAX_IMAGES):
        try:
            orientation = read_orientation(content_of(collection.folder / pair.image))
        except OSError:
            continue
        if orientation != UPRIGHT:
            turned.append((pair, orientation))
    if not turned:
        return None
    found = [
        contrasts
        for pair, orientation in sample_evenly(turned, MAX_COMPARED)
        if (contrasts := _contrasts(pair, orientation, collection, channels))
    ]
    if not found:
        return None
    upright, stored = np.nanmean(found, axis=0).tolist() if not np.isnan(found).all() else (0.0, 0.0)
    return OrientationGuess(len(turned), _choose(found, upright, stored), (upright, stored))


def _choose(found: Sequence[tuple[float, float]], upright: float, stored: float) -> Literal["upright", "stored"] | None:
    fits = ~np.isnan(found)
    if fits[:, 0].sum() != fits[:, 1].sum():  # images on end, whose sides fit one way only
        return "upright" if fits[:, 0].sum() > fits[:, 1].sum() else "stored"
    if upright > CLEAR * stored:
        return "upright"
    return "stored" if stored > CLEAR * upright else None


def _contrasts(
    pair: Pair, orientation: int, collection: Collection, channels: int | None
) -> tuple[float, float] | None:
    """Contrast of a turned image along the edges of its mask, in both orientations; NaN where sizes differ."""
    try:
        image = read_image(content_of(collection.folder / pair.image), channels)
        mask = collection.masks.class_indices(collection.masks.content(collection.folder, pair.truth))
    except (OSError, PictureError, UndeclaredError):
        return None
    gray = image.mean(axis=-1, dtype=np.float32) / (1 if image.dtype == np.uint8 else 257)
    return _contrast(gray, mask), _contrast(gray, orient_mask(mask, orientation))


def _contrast(gray: NDArray[np.float32], mask: NDArray[Any]) -> float:
    """Mean change of gray between neighbors that a mask puts into two classes; NaN where it does not fit."""
    if gray.shape != mask.shape:
        return float("nan")
    changes = [np.abs(np.diff(gray, axis=axis))[np.diff(mask.astype(np.int16), axis=axis) != 0] for axis in (0, 1)]
    edges = np.concatenate(changes)
    return float(edges.mean()) if edges.size else 0.0
