"""Tables of each split's samples, as in `samples.csv`."""

from __future__ import annotations

import json
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.artifacts.prepared_data import SHOWCASE, SPLITS, SegmentationClass
from pipeline.imaging import IGNORE
from pipeline.prepare.sample import Sample, SampleWriter

_BLOCK_ROWS = 1_000


class SampleRows:
    """Rows of cells as in `samples.csv`, compressed in blocks, because there may be millions."""

    def __init__(self) -> None:
        self._blocks: list[bytes] = []
        self._last: list[list[str]] = []  # rows after those of the blocks

    def __len__(self) -> int:
        return len(self._blocks) * _BLOCK_ROWS + len(self._last)

    def __iter__(self) -> Iterator[list[str]]:
        for block in self._blocks:
            yield from json.loads(zlib.decompress(block))
        yield from self._last

    def append(self, row: list[str]) -> None:
        """Append a row."""
        self._last.append(row)
        if len(self._last) == _BLOCK_ROWS:
            self._blocks.append(zlib.compress(json.dumps(self._last).encode(), level=1))
            self._last = []


class SplitTable:
    """Rows of `samples.csv` for a split or the showcase, and their totals."""

    def __init__(self, split: str, classes: Sequence[SegmentationClass]) -> None:
        self.split = split
        self.rows = SampleRows()
        self.groups: set[tuple[str, str]] = set()  # (factor, name) of each group
        self.pixels = np.zeros(len(classes), np.int64)  # evaluated pixels of each class
        self.images = np.zeros(len(classes), np.int64)  # images with pixels of each class
        self.size = (0, 0)  # height and width of the prepared masks, px
        self.without_foreground = 0  # samples with evaluated pixels, but no foreground
        self.without_pixels = 0  # samples whose pixels are all ignored
        self.ignored_for_foreground = 0  # samples with an ignored value and background, but no foreground
        self.ignored_beside_foreground = 0  # samples with an ignored value and foreground
        self.fold_pixels: dict[int, NDArray[np.int64]] = {}  # evaluated pixels of each class, by fold
        self.fold_images: Counter[int] = Counter()
        self._names = [one.name for one in classes]
        self._foreground = [index for index, one in enumerate(classes) if one.foreground]

    def add(self, sample: Sample) -> None:
        """Add a sample."""
        pixels = count_pixels(sample.mask, len(self._names))
        self.size = sample.mask.shape
        self.pixels += pixels
        self.images += pixels > 0
        has_foreground, has_pixels = pixels[self._foreground].any(), pixels.any()
        self.without_foreground += bool(has_pixels and not has_foreground)
        self.without_pixels += not has_pixels
        if sample.has_ignored:
            self.ignored_beside_foreground += bool(has_foreground)
            self.ignored_for_foreground += bool(has_pixels and not has_foreground)
        if sample.fold is not None:
            self.fold_images[sample.fold] += 1
            self.fold_pixels[sample.fold] = self.fold_pixels.get(sample.fold, 0) + pixels
        groups = ";".join(f"{factor}={name}" for factor, name in sample.groups.items())
        sizes = (sample.height, sample.width, *sample.mask.shape)
        fold = "" if sample.fold is None else sample.fold
        cells = (sample.id, self.split, groups, fold, *sizes, sample.sha256, pixels.sum())
        # Enough digits for the exact number of pixels of a class in an image of up to a terapixel.
        self.rows.append([*map(str, cells), *(f"{share:.12g}" for share in pixels / max(pixels.sum(), 1))])
        self.groups.update(sample.groups.items())

    def missing(self) -> list[str]:
        """List the classes that occur in none of the masks."""
        return [name for name, pixels in zip(self._names, self.pixels, strict=True) if not pixels]


def tabulate_samples(
    samples: Iterable[tuple[str, Sample]], classes: Sequence[SegmentationClass], write: SampleWriter
) -> dict[str, SplitTable]:
    """Write (split, sample) pairs one at a time, and return a table for each split and the showcase."""
    tables = {split: SplitTable(split, classes) for split in (*SPLITS, SHOWCASE)}
    for split, sample in samples:
        tables[split].add(sample)
        write(split, sample)
    return tables


def count_pixels(mask: NDArray[np.uint8], num_classes: int) -> NDArray[np.int64]:
    """Count the pixels of each class in a mask."""
    pixels = np.bincount(mask.ravel(), minlength=IGNORE + 1)
    assert not pixels[num_classes:IGNORE].any(), "a mask has an index without a class"
    return pixels[:num_classes]
