"""Guess if masks of images with an EXIF orientation cover the upright or the stored pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.imaging.decode import read_image
from pipeline.imaging.errors import PictureError
from pipeline.imaging.mask_decoding import orient_mask
from pipeline.imaging.metadata import UPRIGHT, read_orientation, reverse_orientation
from pipeline.prepare.image_mask_pair import ImageMaskPair, PairCollection, UndeclaredValuesError
from pipeline.prepare.mask_sample import sample_evenly
from pipeline.prepare.safe_read import read_limited
from pipeline.prepare.sample_ids import format_count, join_names

MAX_IMAGES = 400  # whose orientation is read
MAX_COMPARED = 40  # turned images that are decoded
CLEAR = 1.2  # ratio of the contrasts along mask edges, from which on one of the two is chosen
CLEAR_SINGLE = 2.0  # the same for a single image, whose edges may match by chance
MAX_CONTRARY = 0.15  # share of images that clearly fit the other way, above which none is chosen

_FITS = 1e-6  # contrast of a mask without edges whose size fits
_NAMED = 5  # files in a sentence


@dataclass(frozen=True)
class _Fit:
    """Contrast of a turned image along the edges of its mask, by what the mask covers; 0 where sizes differ."""

    file: str  # of the image
    upright: float
    stored: float
    mask_is_turned: bool  # by an EXIF orientation of its own; `stored` is then without that

    @property
    def fits_upright(self) -> bool:
        """Whether the mask clearly covers the upright pixels."""
        return self.upright > CLEAR_SINGLE * self.stored

    @property
    def fits_stored(self) -> bool:
        """Whether the mask clearly covers the stored pixels."""
        return self.stored > CLEAR_SINGLE * self.upright


@dataclass(frozen=True)
class OrientationGuess:
    """Which pixels the masks cover.

    Attributes:
        turned: images that have an EXIF orientation, of those that were opened.
        choice: as `data.mask_orientation` has it; None where both fit, or each fits some images.
        contrasts: mean gray-level change of the images along the edges of their masks, if these are upright and if they
            cover the stored pixels; 0 where sizes differ. None where all masks have an EXIF orientation of their own.
        contrary: images that clearly fit the other way than most.
        doubtful: images whose masks have an EXIF orientation of their own, and clearly fit without it.
    """

    turned: int
    choice: Literal["upright", "stored"] | None
    contrasts: tuple[float, float] | None
    contrary: tuple[str, ...] = ()
    doubtful: tuple[str, ...] = ()

    def sentences(self) -> list[str]:
        """Report the guess, and the reason."""
        return [*self._choice(), *self._contrary(), *self._doubtful()]

    def _choice(self) -> list[str]:
        if self.contrasts is None:
            return []
        upright, stored = self.contrasts
        found = f"{self._turned()}. Their edges match the masks {'better' if self.choice else 'about as well'} "
        if self.choice == "upright":
            return [f"{found}upright (contrast {upright:.1f}, as stored {stored:.1f}): mask_orientation: upright."]
        if self.choice == "stored":
            return [f"{found}as stored (contrast {stored:.1f}, upright {upright:.1f}): mask_orientation: stored."]
        if self.contrary:
            return [f"{self._turned()}."]
        return [f"{found}upright as stored; look at some of them and write data.mask_orientation: upright or stored."]

    def _turned(self) -> str:
        return f"{format_count(self.turned, 'image is', 'images are')} turned by EXIF orientation"

    def _contrary(self) -> list[str]:
        if not self.contrary:
            return []
        then = "" if self.choice else ", then write data.mask_orientation: upright or stored, which holds for all masks"
        return [
            f"Masks that match their images the other way than most do ({len(self.contrary)}), those of "
            f"{join_names(self.contrary, _NAMED)}: save them again like the others{then}."
        ]

    def _doubtful(self) -> list[str]:
        if not self.doubtful:
            return []
        return [
            f"Masks that have an EXIF orientation of their own but match their images without it "
            f"({len(self.doubtful)}), those of {join_names(self.doubtful, _NAMED)}: save them without EXIF."
        ]


def guess_orientation(collection: PairCollection, channels: int | None) -> OrientationGuess | None:
    """Compare turned images with their masks in both orientations; None if no image is turned."""
    turned = []
    for pair in sample_evenly(list(collection.pairs.values()), MAX_IMAGES):
        try:
            orientation = read_orientation(read_limited(collection.folder / pair.image))
        except OSError:
            continue
        if orientation != UPRIGHT:
            turned.append((pair, orientation))
    if not turned:
        return None
    compared = [
        fit
        for pair, orientation in sample_evenly(turned, MAX_COMPARED)
        if (fit := _compare(pair, orientation, collection, channels))
    ]
    if not compared:
        return None
    fits = [fit for fit in compared if not fit.mask_is_turned]
    doubtful = tuple(fit.file for fit in compared if fit.mask_is_turned and fit.fits_stored)
    if not fits:
        return OrientationGuess(len(turned), None, None, doubtful=doubtful)
    upright, stored = np.mean([(fit.upright, fit.stored) for fit in fits], axis=0).tolist()
    sides = [[fit.file for fit in fits if fit.fits_upright], [fit.file for fit in fits if fit.fits_stored]]
    contrary = tuple(sides[0] if len(sides[0]) < len(sides[1]) else sides[1])
    is_mixed = len(contrary) > MAX_CONTRARY * (len(sides[0]) + len(sides[1]))
    choice = None if is_mixed else _choose(upright, stored)
    return OrientationGuess(len(turned), choice, (upright, stored), contrary, doubtful)


def _choose(upright: float, stored: float) -> Literal["upright", "stored"] | None:
    if upright > CLEAR * stored:
        return "upright"
    return "stored" if stored > CLEAR * upright else None


def _compare(pair: ImageMaskPair, orientation: int, collection: PairCollection, channels: int | None) -> _Fit | None:
    """Compare a turned image with its mask; None if one cannot be read, or no size fits."""
    try:
        content = collection.masks.read(collection.folder, pair.mask)
        image = read_image(read_limited(collection.folder / pair.image), channels)
        mask = collection.masks.decode(content)
    except (OSError, PictureError, UndeclaredValuesError):
        return None
    gray = image.mean(axis=-1, dtype=np.float32) / (1 if image.dtype == np.uint8 else 257)
    own = read_orientation(content)
    other = orient_mask(mask, orientation if own == UPRIGHT else reverse_orientation(own))
    fit = _Fit(pair.image, _contrast(gray, mask), _contrast(gray, other), own != UPRIGHT)
    return fit if fit.upright or fit.stored else None


def _contrast(gray: NDArray[np.float32], mask: NDArray[Any]) -> float:
    """Measure the mean change of gray between neighbors of two classes; 0 if the mask has another size."""
    if gray.shape != mask.shape:
        return 0.0
    changes = [np.abs(np.diff(gray, axis=axis))[np.diff(mask.astype(np.int16), axis=axis) != 0] for axis in (0, 1)]
    edges = np.concatenate(changes)
    return float(edges.mean()) + _FITS if edges.size else _FITS
