"""Measure how much of each class is lost at the prepared size: objects, area, and the highest possible IoU.

For the IoU, masks are resized to the prepared size, as in `prepare`, and then back to their original size. No network
trained at the prepared size can learn the pixels that differ afterward.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.cells import cell_len
from scipy import ndimage

from pipeline.imaging import IGNORE
from pipeline.imaging.resize import FixedSize, NativeSize, Resizing
from pipeline.prepare.image_mask_pair import ImageMaskPair, PairCollection
from pipeline.prepare.mask_sample import sample_masks
from pipeline.wording import (
    align_columns,
    escape_unprintable,
    format_size,
    format_size_setting,
    join_names,
    pluralize,
    shorten,
)

# Maximum numbers of masks, pixels for counting lost objects, and pixels for the IoU. Measuring this many takes seconds.
MAX_MASKS, MAX_PIXELS, MAX_PIXELS_FOR_IOU = 100, 100_000_000, 40_000_000
MULTIPLE = 32  # px; multiples of this suit every network
SIZES = (64, 96, 128, 160, 192, 224, 256, 320, 384, 448, 512, 640, 768, 896, 1024)  # longer sides to try, px
FACTORS = (32.0, 16.0, 8.0, 4.0, 3.0, 2.0, 1.5, 1.0)  # factors to try for downscaling native images
MAX_LOST = 0.05  # fraction of a class's objects that may vanish without being reported
MAX_AREA_CHANGE = 0.2  # largest relative change of a class's area that is not reported
# A size that lowers the IoU by at most 0.1 usually costs less than the network's own errors.
GOOD_IOU = 0.9

MAX_WIDTH = 80  # columns of the terminal
MIN_ROWS = 3  # sizes to compare, even if the first one is good
TITLE = "IoU of a perfect prediction after resizing it back to the masks' original size:"

Size = tuple[int, int]  # height and width of the prepared images, px
Scale = Size | float  # or the downscaling factor of native images
Column = tuple[str, Callable[[Size, bool], str]]  # heading, and entry as a function of (size, is_patch)


@dataclass(frozen=True)
class ClassEffect:
    """Effect of a prepared size on one class."""

    name: str
    objects: int  # number of connected regions (8-connectivity) in the original masks
    kept: int  # number of these regions that still have a pixel at the prepared size
    area: float  # the class's share of the pixels at the prepared size, divided by that in the original masks
    example: str | None = None  # id of the pair whose mask loses the most regions; None if no region is lost

    @property
    def is_lossy(self) -> bool:
        """Whether so much is lost that scores at the prepared size say little about the originals."""
        return self.objects - self.kept > MAX_LOST * self.objects or abs(self.area - 1) > MAX_AREA_CHANGE

    def __str__(self) -> str:
        """Format the class's numbers."""
        return f"{self.name} keeps {self.kept:,} of {self.objects:,} objects and {self.area:.0%} of its area"


@dataclass(frozen=True)
class SizeEffects:
    """Effects of a prepared size on the foreground classes."""

    size: Scale
    masks: int  # number of examined masks
    classes: tuple[ClassEffect, ...]  # foreground classes that occur
    sufficient: Scale | None  # smallest size that is not lossy; None if none was found, or `size` is not lossy

    @property
    def is_lossy(self) -> bool:
        """Whether the size is lossy for any class."""
        return any(effect.is_lossy for effect in self.classes)

    def sentence(self) -> str:
        """Describe the loss, and the size that avoids it."""
        lossy = [str(effect) for effect in self.classes if effect.is_lossy]
        none = f"no image_size up to {SIZES[-1]} keeps them; image_size: native does"
        remedy = f"{_format_setting(self.sufficient)} keeps them" if self.sufficient else none
        examined = pluralize(self.masks, "mask was", "masks were")
        return f"At {self.shown}, {join_names(lossy)} ({examined} examined); {remedy}."

    @property
    def shown(self) -> str:
        """The size as text."""
        if isinstance(self.size, tuple):
            return format_size(self.size)
        return "their own size" if self.size == 1 else f"a downscale of {self.size:g}"


def _format_setting(size: Scale) -> str:
    if isinstance(size, tuple):
        return f"data.image_size: {format_size_setting(size)}"
    return f"data.downscale: {size:g}"


def measure_size_effects(pairs: Sequence[ImageMaskPair], collection: PairCollection, resizing: Resizing) -> SizeEffects:
    """Compare a sample of the masks at their original size with the same masks at the prepared size."""
    tried: Sequence[Resizing] = _list_larger(resizing) if isinstance(resizing, FixedSize) else _list_factors(resizing)
    # Indexed by class, or by size and class. `before` and `after` sum a class's share of the pixels over all masks.
    objects, before = np.zeros(256, np.int64), np.zeros(256)
    kept, after = np.zeros((len(tried), 256), np.int64), np.zeros((len(tried), 256))
    most_lost: dict[int, tuple[int, str]] = {}  # number of lost regions, and id of the pair, by class
    masks = longest = 0
    for pair, mask in sample_masks(pairs, collection, MAX_MASKS, MAX_PIXELS):
        masks, longest = masks + 1, max(longest, *mask.shape)
        pixels = _count_pixels(mask)
        for index, one in enumerate(collection.classes):
            if not one.foreground or not pixels[index]:
                continue
            regions, number = ndimage.label(mask == index, np.ones((3, 3)), output=np.int32)
            share, image = pixels[index] / mask.size, Image.fromarray(regions)
            objects[index] += number
            before[index] += share
            for place, larger in enumerate(tried):
                counted = (number, share) if _keeps_all(larger, mask.shape) else _count_kept(image, number, larger)
                kept[place, index] += counted[0]
                after[place, index] += counted[1]
                if place == 0 and number - counted[0] > most_lost.get(index, (0, ""))[0]:
                    most_lost[index] = number - counted[0], pair.id

    effects = [
        tuple(
            ClassEffect(
                one.name,
                int(objects[i]),
                int(kept[place, i]),
                float(after[place, i] / before[i]),
                most_lost[i][1] if place == 0 and i in most_lost else None,
            )
            for i, one in enumerate(collection.classes)
            if objects[i]
        )
        for place in range(len(tried))
    ]
    is_lossy = [any(effect.is_lossy for effect in of_size) for of_size in effects]
    lossless = (
        _get_scale(larger)
        for larger, loses in zip(tried[1:], is_lossy[1:], strict=True)
        if not loses and not (isinstance(larger, FixedSize) and max(larger.size) >= longest + MULTIPLE)
    )
    return SizeEffects(_get_scale(resizing), masks, effects[0], next(lossless, None) if is_lossy[0] else None)


def _get_scale(resizing: Resizing) -> Scale:
    if isinstance(resizing, FixedSize):
        return resizing.size
    assert isinstance(resizing, NativeSize)
    return resizing.downscale


def _keeps_all(resizing: Resizing, shape: tuple[int, ...]) -> bool:
    """Return whether a mask can be skipped, because the size is too large to be proposed or downscales nothing."""
    if isinstance(resizing, FixedSize):
        return min(resizing.size) >= max(shape) + MULTIPLE
    return _get_scale(resizing) == 1


def _list_factors(resizing: Resizing) -> list[NativeSize]:
    """List a resizing of native images, followed by those that downscale less."""
    factor = _get_scale(resizing)
    assert isinstance(factor, float)
    return [NativeSize(factor), *(NativeSize(smaller) for smaller in FACTORS if smaller < factor)]


def _list_larger(resizing: FixedSize) -> list[FixedSize]:
    """List a resizing, followed by those to larger sizes in `SIZES` (longer side) with the same aspect ratio."""
    longest = max(resizing.size)
    larger = []
    for side in SIZES:
        if side > longest:
            height, width = (max(MULTIPLE, round(one * side / longest / MULTIPLE) * MULTIPLE) for one in resizing.size)
            larger.append(FixedSize((height, width), resizing.mode))
    return [resizing, *larger]


def _count_kept(regions: Image.Image, number: int, resizing: Resizing) -> tuple[int, float]:
    """Count the numbered regions with a pixel at the prepared size, and compute their share of the pixels."""
    height, width = resizing.compute_inner_size((regions.height, regions.width))
    small = np.asarray(regions.resize((width, height), Image.Resampling.NEAREST))  # `resize_mask` would copy twice
    kept = int(np.count_nonzero(np.bincount(small.ravel(), minlength=number + 1)[1:]))
    return kept, int(np.count_nonzero(small)) / small.size


@dataclass(frozen=True)
class SizeCeiling:
    """Highest possible IoU of each class at a size."""

    size: Size
    iou: Mapping[str, float]  # by class, pooled over the masks; only classes that occur

    @property
    def worst(self) -> str:
        """Class with the lowest IoU."""
        return min(self.iou, key=self.iou.__getitem__)

    @property
    def lowest(self) -> float:
        """Lowest IoU of all classes."""
        return self.iou[self.worst]

    @property
    def is_good(self) -> bool:
        """Whether every class can reach `GOOD_IOU`."""
        return self.lowest >= GOOD_IOU

    def list_classes(self, below: float = math.inf) -> str:
        """List the classes with an IoU below a limit, in ascending order of IoU."""
        ordered = sorted(self.iou.items(), key=lambda item: item[1])
        return join_names([f"{name} {iou:.3f}" for name, iou in ordered if iou < below])


@dataclass(frozen=True)
class SizeCeilings:
    """Highest possible IoUs at several sizes."""

    masks: int  # number of examined masks
    # In ascending order; empty if no class occurs. The last size is the smallest one that downscales no mask or, if
    # there is none, the largest one tried.
    sizes: tuple[SizeCeiling, ...]
    pixel_shares: Mapping[str, float]  # of each class that occurs, in the evaluated pixels of all masks

    @property
    def sufficient(self) -> SizeCeiling | None:
        """Smallest good size; None if there is none."""
        return next((ceiling for ceiling in self.sizes if ceiling.is_good), None)

    def at(self, size: Size) -> SizeCeiling:
        """Return the ceiling at a size. Sizes above the largest one tried have the same ceiling as that one."""
        return next((ceiling for ceiling in self.sizes if max(ceiling.size) >= max(size)), self.sizes[-1])

    def remedy(self) -> str:
        """Name the smallest good size, or say that there is none."""
        if better := self.sufficient:
            return f"data.image_size: {format_size_setting(better.size)} gives every class at least {GOOD_IOU}"
        largest = format_size_setting(self.sizes[-1].size)
        return f"no image_size up to {largest} gives every class at least {GOOD_IOU}; image_size: native does"

    def sentence(self, size: Size) -> str:
        """Name the classes that a size limits, and the smallest good size."""
        return (
            f"At {format_size(size)}, even perfect predictions have a low IoU after resizing them back to the masks' "
            f"original size: {self.at(size).list_classes(below=GOOD_IOU)} "
            f"({pluralize(self.masks, 'mask was', 'masks were')} examined); {self.remedy()}."
        )


def measure_size_ceilings(
    pairs: Sequence[ImageMaskPair], collection: PairCollection, resizing: FixedSize
) -> SizeCeilings:
    """Compare a sample of the masks with copies that were resized to a given size or a larger one and back.

    Boundary classes are left out, because their exact extent is uncertain. A pixel that becomes ignored counts as an
    error.
    """
    tried = _list_larger(resizing)
    same, either = np.zeros((2, len(tried), 256), np.int64)
    pixels = np.zeros(256, np.int64)
    shapes: list[tuple[int, ...]] = []
    for _, mask in sample_masks(pairs, collection, MAX_MASKS, MAX_PIXELS_FOR_IOU):
        shapes.append(mask.shape)
        of_mask = _count_pixels(mask)
        pixels += of_mask
        for place, one in enumerate(tried):
            counts = (of_mask, of_mask) if one.enlarges(mask.shape) else _compare(mask, of_mask, one)
            same[place] += counts[0]
            either[place] += counts[1]
    total = max(1, pixels[:IGNORE].sum())
    occurring = {one.name: index for index, one in enumerate(collection.classes) if pixels[index]}
    edges = {one.name for one in collection.classes if one.is_boundary}
    judged = {name: index for name, index in occurring.items() if name not in edges}
    lossless = (place for place, one in enumerate(tried) if all(map(one.enlarges, shapes)))
    last = next(lossless, len(tried) - 1)
    ceilings = [
        SizeCeiling(
            one.size, {name: float(same[place, index] / either[place, index]) for name, index in judged.items()}
        )
        for place, one in enumerate(tried[: last + 1])
        if judged
    ]
    shares = {name: float(pixels[index] / total) for name, index in occurring.items()}
    return SizeCeilings(len(shapes), tuple(ceilings), shares)


def _compare(
    mask: NDArray[np.uint8], pixels: NDArray[np.int64], resizing: FixedSize
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Count the pixels in the intersection and in the union of a mask and its restored copy, by class."""
    restored = resizing.restore_mask(resizing.fit_mask(mask, outside=IGNORE), mask.shape)
    same = _count_pixels(mask, mask == restored)
    return same, pixels + _count_pixels(restored, mask != IGNORE) - same


def _count_pixels(mask: NDArray[np.uint8], where: NDArray[np.bool_] | None = None) -> NDArray[np.int64]:
    """Count the pixels of each of 256 values. Pillow is used, because numpy would need eight bytes per pixel."""
    chosen = None if where is None else Image.fromarray(where.view(np.uint8))
    return np.array(Image.fromarray(mask).histogram(chosen), np.int64)


def format_size_table(
    ceilings: SizeCeilings, marked: Size | None, columns: Sequence[Column] = (), patch: Size | None = None
) -> list[str]:
    """Format a table of the sizes up to the first good one, with the IoU of each class.

    If there are too many classes for the terminal, only the lowest IoU is shown.

    Args:
        ceilings: Highest possible IoUs at the sizes.
        marked: Size whose row is marked with >.
        columns: Additional columns after the classes.
        patch: Size of the patches if images keep their native size. The last row is then for patches, and is marked
            with >.

    Returns:
        Lines of the table. Empty if no class occurs.
    """
    if not ceilings.sizes:
        return []
    good = ceilings.sufficient
    last = max(max(good.size if good else ceilings.sizes[-1].size), max(marked or (0,)))
    rows = ceilings.sizes[: max(MIN_ROWS, sum(max(row.size) <= last for row in ceilings.sizes))]
    sizes = ["px", *(format_size_setting(row.size) for row in rows)]
    marks = [" ", *(">" if row.size == marked else " " for row in rows)]
    if patch:
        rows = (*rows, SizeCeiling(patch, dict.fromkeys(rows[0].iou, 1.0)))
        sizes, marks = [*sizes, "native"], [*marks, ">"]
    is_native = [patch is not None and row is rows[-1] for row in rows]
    ending = [
        [heading, *(entry(row.size, last) for row, last in zip(rows, is_native, strict=True))]
        for heading, entry in columns
    ]
    by_class = [[escape_unprintable(name), *(f"{row.iou[name]:.3f}" for row in rows)] for name in rows[0].iou]
    lines = align_columns([sizes, *by_class, *ending])
    if max(map(cell_len, lines)) > MAX_WIDTH - 2:
        lowest = [["lowest", *(f"{row.lowest:.3f}" for row in rows)]]
        lines = align_columns([sizes, *lowest, *ending])
        room = MAX_WIDTH - 2 - cell_len(lines[0]) - 2
        worst = ["class", *(escape_unprintable(row.worst) for row in rows)]
        lines = [f"{line}  {shorten(name, room)}" for line, name in zip(lines, worst, strict=True)]
    return [TITLE, *(f"{mark} {line}".rstrip() for mark, line in zip(marks, lines, strict=True))]
