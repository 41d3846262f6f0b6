"""Measure what the prepared size does to each class: objects that vanish, and area."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pipeline.data.picture_error import PictureError
from pipeline.data.pictures import Resize, resize_mask
from pipeline.prepare.names import listed
from pipeline.prepare.pairs import Collection, Pair, UndeclaredError
from pipeline.prepare.sampling import sample_evenly
from pipeline.runs import SegmentationClass

MAX_MASKS = 100  # that are examined
MAX_LOST = 0.05  # share of a class's objects that may vanish before it is reported
MAX_AREA_CHANGE = 0.2  # of a class's share of the pixels
SIZES = (64, 96, 128, 160, 192, 256, 320, 384, 448, 512, 640, 768, 896, 1024)  # px; all multiples of 32


@dataclass(frozen=True)
class ClassEffect:
    """What happens to a class.

    Attributes:
        name: of the class.
        objects: connected regions (8 neighbors) at the masks' own size.
        kept: those that have a pixel at the prepared size.
        area: the class's share of the pixels at the prepared size, divided by that at the masks' own size.
    """

    name: str
    objects: int
    kept: int
    area: float

    @property
    def is_lossy(self) -> bool:
        """Whether so much is lost that scores at the prepared size say little about the originals."""
        return self.objects - self.kept > MAX_LOST * self.objects or abs(self.area - 1) > MAX_AREA_CHANGE

    def __str__(self) -> str:
        """The class with its numbers."""
        return f"{self.name} keeps {self.kept:,} of {self.objects:,} objects and {self.area:.0%} of its area"


@dataclass(frozen=True)
class SizeEffects:
    """What a size does to the foreground classes.

    Attributes:
        size: of the prepared images, px.
        masks: how many were examined.
        classes: those that occur.
        sufficient: the smallest size of `SIZES` that keeps them; None where none does, or `size` does.
    """

    size: int
    masks: int
    classes: tuple[ClassEffect, ...]
    sufficient: int | None

    @property
    def is_lossy(self) -> bool:
        """Whether any class loses much."""
        return any(effect.is_lossy for effect in self.classes)

    def sentence(self, key: str) -> str:
        """Tell what is lost, and which size keeps it."""
        lossy = [str(effect) for effect in self.classes if effect.is_lossy]
        remedy = f"{key}.image_size: {self.sufficient} keeps them" if self.sufficient else "no image_size keeps them"
        return f"At {self.size} px {listed(lossy)} ({self.masks} masks were examined); {remedy}."


def measure_size_effects(pairs: Sequence[Pair], collection: Collection, size: int, resize: Resize) -> SizeEffects:
    """Compare masks at their own size with the same masks at the prepared size.

    Args:
        pairs: a sample of their masks, evenly spaced, is decoded; what cannot be decoded is left out.
        collection: that they are from.
        size: of the prepared images, px.
        resize: how they come into the square.
    """
    chosen = sample_evenly(pairs, MAX_MASKS)
    masks = [mask for pair in chosen if (mask := _decode(pair, collection)) is not None]
    classes = [(index, one) for index, one in enumerate(collection.classes) if one.foreground]
    regions = [_label(mask, classes) for mask in masks]
    effects = _effects(regions, classes, size, resize)
    sufficient = None
    if any(effect.is_lossy for effect in effects):
        longest = max(max(mask.shape) for mask in masks)
        sufficient = next(
            (
                larger
                for larger in SIZES
                if size < larger < longest + 32
                and not any(effect.is_lossy for effect in _effects(regions, classes, larger, resize))
            ),
            None,
        )
    return SizeEffects(size, len(masks), effects, sufficient)


def _decode(pair: Pair, collection: Collection) -> NDArray[np.uint8] | None:
    try:
        return collection.masks.class_indices(collection.masks.content(collection.folder, pair.truth))
    except (OSError, PictureError, UndeclaredError):
        return None


@dataclass(frozen=True, eq=False)
class _Regions:
    """The connected regions of each class in a mask: class index to H x W, int32, 0 elsewhere, and their number."""

    shape: tuple[int, int]
    by_class: dict[int, tuple[NDArray[np.int32], int]]


def _label(mask: NDArray[np.uint8], classes: Iterable[tuple[int, SegmentationClass]]) -> _Regions:
    there = np.flatnonzero(np.bincount(mask.ravel(), minlength=256)).tolist()
    by_class = {}
    for index, _ in classes:
        if index in there:
            regions, number = ndimage.label(mask == index, np.ones((3, 3)), output=np.int32)
            by_class[index] = (regions, int(number))
    return _Regions((mask.shape[0], mask.shape[1]), by_class)


def _effects(
    masks: Sequence[_Regions], classes: Iterable[tuple[int, SegmentationClass]], size: int, resize: Resize
) -> tuple[ClassEffect, ...]:
    effects = []
    for index, one in classes:
        objects = kept = 0
        before = after = 0.0
        for mask in masks:
            if index not in mask.by_class:
                continue
            regions, number = mask.by_class[index]
            small = resize_mask(regions, size, resize)
            objects += number
            kept += int(np.count_nonzero(np.unique(small)))
            before += np.count_nonzero(regions) / regions.size
            after += np.count_nonzero(small) / small.size
        if objects:
            effects.append(ClassEffect(one.name, objects, kept, after / before))
    return tuple(effects)
