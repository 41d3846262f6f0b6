"""Measure the effect of the prepared size on each class: lost objects, and area."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from pipeline.artifacts.prepared_data import SegmentationClass
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
    """Compare masks at their own size with the same masks at the prepared size.

    Args:
        pairs: a sample of their masks, evenly spaced, is decoded; masks that cannot be decoded are left out.
        collection: that they are from.
        size: of the prepared images, px.
        resize: how they come into the square.
    """
    classes = [(index, one) for index, one in enumerate(collection.classes) if one.foreground]
    sizes = [size, *(larger for larger in SIZES if larger > size)]
    counts = {(tried, index): _Counts() for tried in sizes for index, _ in classes}
    masks = longest = 0
    for mask in sample_masks(pairs, collection, MAX_MASKS, MAX_PIXELS):
        masks, longest = masks + 1, max(longest, *mask.shape)
        _count(mask, counts, resize)
    by_size = {tried: _effects(classes, counts, tried) for tried in sizes if tried == size or tried < longest + 32}
    effects = by_size.pop(size)
    lossless = (tried for tried, found in by_size.items() if not any(effect.is_lossy for effect in found))
    sufficient = next(lossless, None) if any(effect.is_lossy for effect in effects) else None
    return SizeEffects(size, masks, effects, sufficient)


@dataclass
class _Counts:
    """Counts of a class at a size, over all masks so far; see `ClassEffect`."""

    objects: int = 0
    kept: int = 0
    before: float = 0.0  # sum of its shares of the pixels, at the masks' own size
    after: float = 0.0


def _count(mask: NDArray[np.uint8], counts: Mapping[tuple[int, int], _Counts], resize: Resize) -> None:
    """Add a mask to the counts, which are by size and class index."""
    pixels = Image.fromarray(mask).histogram()  # of each class; numpy needs eight bytes per pixel for it
    for index in {index for _, index in counts if pixels[index]}:
        regions, number = ndimage.label(mask == index, np.ones((3, 3)), output=np.int32)
        share, image = pixels[index] / mask.size, Image.fromarray(regions)
        for (size, of), found in counts.items():
            if of != index:
                continue
            found.objects += number
            found.before += share
            if size >= max(mask.shape) + 32:  # never proposed, and nothing is lost
                found.kept, found.after = found.kept + number, found.after + share
                continue
            rows, columns = locate_inner(mask.shape, size, resize)
            shape = (columns.stop - columns.start, rows.stop - rows.start)
            small = np.asarray(image.resize(shape, Image.Resampling.NEAREST))  # as `resize_mask`, copied once
            found.kept += int(np.count_nonzero(np.bincount(small.ravel(), minlength=number + 1)[1:]))
            found.after += int(np.count_nonzero(small)) / small.size


def _effects(
    classes: Iterable[tuple[int, SegmentationClass]], counts: Mapping[tuple[int, int], _Counts], size: int
) -> tuple[ClassEffect, ...]:
    found = [(one.name, counts[size, index]) for index, one in classes]
    return tuple(ClassEffect(name, of.objects, of.kept, of.after / of.before) for name, of in found if of.objects)
