"""Measure the effect of the prepared size on each class: lost objects, and area."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image
from scipy import ndimage

from pipeline.imaging.resize import Resize, locate_inner
from pipeline.prepare.image_mask_pair import ImageMaskPair, PairCollection
from pipeline.prepare.mask_sample import sample_masks
from pipeline.prepare.sample_ids import format_count, join_names

MAX_MASKS, MAX_PIXELS = 100, 100_000_000  # that are examined; some seconds in all
MAX_LOST = 0.05  # share of a class's objects that may vanish before it is reported
MAX_AREA_CHANGE = 0.2  # of a class's share of the pixels
SIZES = (64, 96, 128, 160, 192, 224, 256, 320, 384, 448, 512, 640, 768, 896, 1024)  # px; all multiples of 32


@dataclass(frozen=True)
class ClassEffect:
    """The effect on one class."""

    name: str
    objects: int  # connected regions (8 neighbors) at the masks' own size
    kept: int  # those that have a pixel at the prepared size
    area: float  # the class's share of the pixels at the prepared size, divided by that at the masks' own size

    @property
    def is_lossy(self) -> bool:
        """Whether so much is lost that scores at the prepared size say little about the originals."""
        return self.objects - self.kept > MAX_LOST * self.objects or abs(self.area - 1) > MAX_AREA_CHANGE

    def __str__(self) -> str:
        """The class with its numbers."""
        return f"{self.name} keeps {self.kept:,} of {self.objects:,} objects and {self.area:.0%} of its area"


@dataclass(frozen=True)
class SizeEffects:
    """The effects of a size on the foreground classes."""

    size: int  # of the prepared images, px
    masks: int  # how many were examined
    classes: tuple[ClassEffect, ...]  # those that occur
    sufficient: int | None  # the smallest size of `SIZES` that keeps them; None if none does, or `size` does

    @property
    def is_lossy(self) -> bool:
        """Whether any class loses much."""
        return any(effect.is_lossy for effect in self.classes)

    def sentence(self) -> str:
        """Report the loss, and the size that avoids it."""
        lossy = [str(effect) for effect in self.classes if effect.is_lossy]
        none = f"no image_size up to {SIZES[-1]} keeps them, smaller tiles of the images would"
        remedy = f"data.image_size: {self.sufficient} keeps them" if self.sufficient else none
        examined = format_count(self.masks, "mask was", "masks were")
        return f"At {self.size} px {join_names(lossy)} ({examined} examined); {remedy}."


def measure_size_effects(
    pairs: Sequence[ImageMaskPair], collection: PairCollection, size: int, resize: Resize
) -> SizeEffects:
    """Compare a sample of the pairs' masks at their own size with the same masks at the prepared size, px."""
    sizes = [size, *(larger for larger in SIZES if larger > size)]
    # By class, and by size and class; before and after are sums of a class's shares of the pixels.
    objects, before = np.zeros(256, np.int64), np.zeros(256)
    kept, after = np.zeros((len(sizes), 256), np.int64), np.zeros((len(sizes), 256))
    masks = longest = 0
    for mask in sample_masks(pairs, collection, MAX_MASKS, MAX_PIXELS):
        masks, longest = masks + 1, max(longest, *mask.shape)
        pixels = Image.fromarray(mask).histogram()  # of each class; numpy needs eight bytes per pixel for it
        for index, one in enumerate(collection.classes):
            if not one.foreground or not pixels[index]:
                continue
            regions, number = ndimage.label(mask == index, np.ones((3, 3)), output=np.int32)
            share, image = pixels[index] / mask.size, Image.fromarray(regions)
            objects[index] += number
            before[index] += share
            for place, tried in enumerate(sizes):
                is_enlarged = tried >= max(mask.shape) + 32  # never proposed, and nothing is lost
                counted = (number, share) if is_enlarged else _count_kept(image, number, tried, resize)
                kept[place, index] += counted[0]
                after[place, index] += counted[1]

    def build_effects(place: int) -> tuple[ClassEffect, ...]:
        return tuple(
            ClassEffect(
                one.name, int(objects[index]), int(kept[place, index]), float(after[place, index] / before[index])
            )
            for index, one in enumerate(collection.classes)
            if objects[index]
        )

    effects, sufficient = build_effects(0), None
    if any(effect.is_lossy for effect in effects):
        larger = (place for place, tried in enumerate(sizes) if place and tried < longest + 32)
        lossless = (sizes[place] for place in larger if not any(effect.is_lossy for effect in build_effects(place)))
        sufficient = next(lossless, None)
    return SizeEffects(size, masks, effects, sufficient)


def _count_kept(regions: Image.Image, number: int, size: int, resize: Resize) -> tuple[int, float]:
    """Count the numbered regions with a pixel at the prepared size, and compute the share of their pixels."""
    rows, columns = locate_inner((regions.height, regions.width), size, resize)
    shape = (columns.stop - columns.start, rows.stop - rows.start)
    small = np.asarray(regions.resize(shape, Image.Resampling.NEAREST))  # as `resize_mask`, copied once
    kept = int(np.count_nonzero(np.bincount(small.ravel(), minlength=number + 1)[1:]))
    return kept, int(np.count_nonzero(small)) / small.size
