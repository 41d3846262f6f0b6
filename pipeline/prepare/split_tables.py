"""Tables of each split's samples, as in `samples.csv`, and checks that every split can be used."""

from __future__ import annotations

import json
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.artifacts.prepared_data import SHOWCASE, SPLITS, SegmentationClass
from pipeline.errors import PipelineError
from pipeline.imaging import IGNORE
from pipeline.prepare.source import Sample, SampleWriter, SourceData
from pipeline.wording import format_size, pluralize

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
        self.ignored_for_foreground = 0  # samples with ignored pixels and background, but no foreground
        self.ignored_beside_foreground = 0  # samples with ignored pixels and foreground
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
        self.rows.append([*map(str, cells), *(f"{share:.6f}" for share in pixels / max(pixels.sum(), 1))])
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


def check_splits(data: SourceData) -> None:
    """Check that the data can be used.

    Raises:
        PipelineError: Files are invalid, a split or the showcase has no samples, a split has no evaluated pixels, or
            the training masks contain only one class.
    """
    if data.error:
        raise data.error
    for table in data.tables.values():
        if data.folds is None or table.split != "validation":
            _check_usable(data, table)
    if data.folds is not None:
        _check_folds(data, data.folds)
    _check_disjoint(list(data.tables.values()))


def _check_disjoint(tables: Sequence[SplitTable]) -> None:
    ids = {row[0] for table in tables for row in table.rows}
    assert len(ids) == sum(len(table.rows) for table in tables), "two samples have the same id"
    for index, table in enumerate(tables):
        for other in tables[:index]:
            shared = table.groups & other.groups
            assert not shared, f"{other.split} and {table.split} share {sorted(shared)[:3]}"


def _check_usable(data: SourceData, table: SplitTable) -> None:
    """Check that a split can be used: training needs two classes, the other splits need one."""
    origin = data.origins[table.split]
    if not table.rows:
        raise PipelineError(
            f"{origin.key}: there is no sample for '{table.split}', but each of {', '.join((*SPLITS, SHOWCASE))} needs "
            f"at least one. {origin.remedy}"
        )
    missing = table.missing()
    enough = len(data.classes) - 1 if table.split == SPLITS[0] else len(data.classes)
    if table.split in SPLITS and len(missing) >= enough:
        present = ", ".join(one.name for one in data.classes if one.name not in missing)
        count, where = len(table.rows), f"of the split '{table.split}'"
        masks = f"all {count} masks {where} contain" if count > 1 else f"the only mask {where} contains"
        needed = "training needs two classes or more" if table.split == SPLITS[0] else "no pixel is evaluated"
        raise PipelineError(
            f"{origin.key}: {masks} only {present or 'ignored pixels'}; {needed}. {origin.remedy} Pixels are counted "
            f"at {format_size(table.size)}; if objects vanish at that size, increase data.image_size."
        )


def _check_folds(data: SourceData, folds: int) -> None:
    """Check that every fold can be used: its images for validation, and those of the other folds for training."""
    table = data.tables[SPLITS[0]]
    for fold in range(folds):
        pixels = table.fold_pixels.get(fold, np.zeros(len(data.classes), np.int64))
        if not pixels.any():
            raise PipelineError(
                f"{data.origins[SPLITS[0]].key}: fold {fold} has {pluralize(table.fold_images[fold], 'image')} and no "
                f"evaluated pixel, so it cannot be used for validation. Add images or lower data.splits.folds."
            )
        if np.count_nonzero(table.pixels - pixels) < 2:
            raise PipelineError(
                f"{data.origins[SPLITS[0]].key}: without fold {fold}, the training masks have fewer than two classes. "
                f"Write splits.stratify: true, add images or lower data.splits.folds."
            )


def count_pixels(mask: NDArray[np.uint8], num_classes: int) -> NDArray[np.int64]:
    """Count the pixels of each class in a mask."""
    pixels = np.bincount(mask.ravel(), minlength=IGNORE + 1)
    assert not pixels[num_classes:IGNORE].any(), "a mask has an index without a class"
    return pixels[:num_classes]
