"""The samples of each split as rows of `samples.csv`, and checks that every split can be used."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.artifacts.prepared_data import SHOWCASE, SPLITS, SegmentationClass
from pipeline.errors import PipelineError
from pipeline.imaging import IGNORE
from pipeline.prepare.source import Sample, SampleWriter, SourceData


class SplitTable:
    """Rows of a split in `samples.csv`, and their totals.

    Attributes:
        split: a split or the showcase.
        rows: cells as in `samples.csv`.
        groups: factor and name.
        pixels: number of evaluated pixels of each class.
        images: number of images with pixels of each class.
        size: side of the prepared masks, px.
        without_foreground: samples with evaluated pixels, but no foreground.
        without_pixels: samples whose pixels are all ignored.
        ignored_for_foreground: samples with ignored pixels and background, but no foreground.
        ignored_beside_foreground: samples with ignored pixels and foreground.
    """

    def __init__(self, split: str, classes: Sequence[SegmentationClass]) -> None:
        self.split = split
        self.rows: list[list[str]] = []
        self.groups: set[tuple[str, str]] = set()
        self.pixels = np.zeros(len(classes), np.int64)
        self.images = np.zeros(len(classes), np.int64)
        self.size = 0
        self.without_foreground = 0
        self.without_pixels = 0
        self.ignored_for_foreground = 0
        self.ignored_beside_foreground = 0
        self._names = [one.name for one in classes]
        self._foreground = [index for index, one in enumerate(classes) if one.foreground]

    def add(self, sample: Sample) -> None:
        """Add a sample.

        Raises:
            PipelineError: Its mask has an index without a class.
        """
        pixels = _count_pixels(sample, self._names)
        self.size = sample.mask.shape[0]
        self.pixels += pixels
        self.images += pixels > 0
        has_foreground, has_pixels = pixels[self._foreground].any(), pixels.any()
        self.without_foreground += bool(has_pixels and not has_foreground)
        self.without_pixels += not has_pixels
        if sample.has_ignored:
            self.ignored_beside_foreground += bool(has_foreground)
            self.ignored_for_foreground += bool(has_pixels and not has_foreground)
        self.rows.append(_format_row(sample, self.split, pixels))
        self.groups.update(sample.groups.items())

    def missing(self) -> list[str]:
        """List the classes that occur in none of the masks."""
        return [name for name, pixels in zip(self._names, self.pixels, strict=True) if not pixels]


def tabulate_samples(
    samples: Iterable[tuple[str, Sample]], classes: Sequence[SegmentationClass], write: SampleWriter
) -> dict[str, SplitTable]:
    """Write samples one at a time, and tabulate them.

    Args:
        samples: each with its split.
        classes: of the masks.
        write: called with each sample and its split.

    Returns:
        One table per split and the showcase.
    """
    tables = {split: SplitTable(split, classes) for split in (*SPLITS, SHOWCASE)}
    for split, sample in samples:
        tables[split].add(sample)
        write(split, sample)
    return tables


def check_splits(data: SourceData) -> None:
    """Check that the data can be used.

    Raises:
        PipelineError: Files are invalid; or a split has no sample or, except for the showcase, no evaluated pixel; or
            the training masks have a single class.
    """
    unusable = (_describe_unusable(data, table) for table in data.tables.values())
    if error := data.error or next(filter(None, unusable), None):
        raise error
    _check_disjoint(list(data.tables.values()))


def _check_disjoint(tables: Sequence[SplitTable]) -> None:
    ids = [row[0] for table in tables for row in table.rows]
    assert len(set(ids)) == len(ids), "two samples have the same id"
    for index, table in enumerate(tables):
        for other in tables[:index]:
            shared = table.groups & other.groups
            assert not shared, f"{other.split} and {table.split} share {sorted(shared)[:3]}"


def _describe_unusable(data: SourceData, table: SplitTable) -> PipelineError | None:
    """Describe why a split cannot be used; a single missing class only gets a notice."""
    origin = data.origins[table.split]
    if not table.rows:
        return PipelineError(
            f"{origin.key}: there is no sample for '{table.split}', but each of {', '.join((*SPLITS, SHOWCASE))} needs "
            f"at least one. {origin.remedy}"
        )
    missing = table.missing()
    enough = len(data.classes) - 1 if table.split == SPLITS[0] else len(data.classes)
    if table.split in SPLITS and len(missing) >= enough:
        needed = (
            "training needs two classes or more" if missing and table.split == SPLITS[0] else "no pixel is evaluated"
        )
        return PipelineError(
            f"{origin.key}: class '{missing[0]}' occurs in none of the {len(table.rows)} masks of the split "
            f"'{table.split}', nor does any other but {_list_present(data.classes, missing)}; {needed}. "
            f"{origin.remedy} Masks are counted at {table.size} px: objects that vanish at that size need a larger "
            f"data.image_size."
        )
    return None


def _list_present(classes: Sequence[SegmentationClass], missing: Sequence[str]) -> str:
    return ", ".join(one.name for one in classes if one.name not in missing) or "ignored pixels"


def _count_pixels(sample: Sample, names: Sequence[str]) -> NDArray[np.int64]:
    """Count the pixels of each class in the mask of a sample."""
    counts = [np.count_nonzero(sample.mask == index) for index in (*range(len(names)), IGNORE)]
    if sum(counts) != sample.mask.size:
        unknown = sorted(set(np.unique(sample.mask).tolist()) - {*range(len(names)), IGNORE})
        raise PipelineError(
            f"{sample.id}: its mask has the index {unknown[0]}, but classes are 0 to {len(names) - 1} "
            f"({', '.join(names)}), and {IGNORE} is ignored. Correct the mask."
        )
    return np.array(counts[:-1], np.int64)


def _format_row(sample: Sample, split: str, pixels: NDArray[np.int64]) -> list[str]:
    shares = pixels / max(pixels.sum(), 1)
    counted = str(pixels.sum())
    texts = (sample.id, split, sample.groups_text, str(sample.height), str(sample.width), sample.sha256, counted)
    return [*texts, *(f"{share:.6f}" for share in shares)]
