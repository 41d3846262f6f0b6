"""What is known of the samples of each split: a row each, and whether every split has what it needs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import PipelineError
from pipeline.prepare.source import Sample, Source
from pipeline.runs import IGNORE, SHOWCASE, SPLITS, SegmentationClass

# What is tested on comes first, so that an image that looks the same is missed where it is only trained on.
READ_ORDER = (SHOWCASE, *reversed(SPLITS))


class SplitTable:
    """A split's part of `samples.csv`, and what it holds in all."""

    def __init__(self, split: str, classes: Sequence[SegmentationClass]) -> None:
        self.split = split
        self.rows: list[list[str]] = []
        self.groups: set[tuple[str, str]] = set()
        self.pixels = np.zeros(len(classes), np.int64)  # of each class
        self.images = np.zeros(len(classes), np.int64)  # with pixels of each class
        self.size = 0  # px, of the prepared masks
        self.without_foreground = 0  # samples
        self.without_pixels = 0  # samples all of whose pixels are ignored
        self.ignored_for_foreground = 0  # samples with ignored pixels, background, and no foreground
        self.ignored_beside_foreground = 0  # samples with ignored pixels and foreground
        self._names = [one.name for one in classes]
        self._foreground = [index for index, one in enumerate(classes) if one.foreground]

    def add(self, sample: Sample) -> None:
        """Add a sample.

        Raises:
            PipelineError: Its mask holds an index of no class.
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
        """The classes that occur in none of the masks."""
        return [name for name, pixels in zip(self._names, self.pixels, strict=True) if not pixels]


def tabulate_samples(source: Source, keep: Callable[[str, Sample], None] | None = None) -> dict[str, SplitTable]:
    """Go through all samples of a source: a table for each split and the showcase.

    Args:
        source: of the samples.
        keep: is given each sample, with its split.
    """
    tables = {split: SplitTable(split, source.classes) for split in (*SPLITS, SHOWCASE)}
    for split, sample in source.samples(READ_ORDER):
        tables[split].add(sample)
        if keep is not None:
            keep(split, sample)
    return tables


def check_splits(source: Source, tables: Mapping[str, SplitTable]) -> None:
    """Check that the samples can be used, once all were asked for.

    Raises:
        PipelineError: Files have faults; or a split has no sample or, unless it is the showcase, no evaluated pixel;
            or training has one class only.
    """
    if error := source.error() or next(
        filter(None, (_describe_unusable(source, table) for table in tables.values())), None
    ):
        raise error
    _check_disjoint(list(tables.values()))


def _check_disjoint(tables: Sequence[SplitTable]) -> None:
    """No sample and no group may stand in two splits, whatever source made them."""
    ids = [row[0] for table in tables for row in table.rows]
    assert len(set(ids)) == len(ids), "a sample stands there twice"
    for index, table in enumerate(tables):
        for other in tables[:index]:
            shared = table.groups & other.groups
            assert not shared, f"{other.split} and {table.split} share {sorted(shared)[:3]}"


def _describe_unusable(source: Source, table: SplitTable) -> PipelineError | None:
    """Describe why a split cannot be used; one missing class is only reported: its scores are undefined there."""
    begin, remedy = source.decides(table.split), source.remedy(table.split)
    if not table.rows:
        return PipelineError(
            f"{begin}: there is no sample for '{table.split}', but each of {', '.join((*SPLITS, SHOWCASE))} needs at "
            f"least one. {remedy}"
        )
    missing = table.missing()
    enough = len(source.classes) - 1 if table.split == SPLITS[0] else len(source.classes)
    if table.split in SPLITS and len(missing) >= enough:
        needed = (
            "training needs two classes or more" if missing and table.split == SPLITS[0] else "no pixel is evaluated"
        )
        return PipelineError(
            f"{begin}: class '{missing[0]}' occurs in none of the {len(table.rows)} masks of the split "
            f"'{table.split}', nor does any other but {_list_present(source, missing)}; {needed}. {remedy} Masks are "
            f"counted at {table.size} px: objects that vanish at that size need a larger data.image_size."
        )
    return None


def _list_present(source: Source, missing: Sequence[str]) -> str:
    return ", ".join(one.name for one in source.classes if one.name not in missing) or "ignored pixels"


def _count_pixels(sample: Sample, names: Sequence[str]) -> NDArray[np.int64]:
    """Pixels of each class in a sample's mask."""
    counts = [np.count_nonzero(sample.mask == index) for index in (*range(len(names)), IGNORE)]
    if sum(counts) != sample.mask.size:
        strangers = sorted(set(np.unique(sample.mask).tolist()) - {*range(len(names)), IGNORE})
        raise PipelineError(
            f"{sample.id}: its mask holds {strangers[0]}, but classes are 0 to {len(names) - 1} ({', '.join(names)}), "
            f"and {IGNORE} is ignored. Mend the mask."
        )
    return np.array(counts[:-1], np.int64)


def _format_row(sample: Sample, split: str, pixels: NDArray[np.int64]) -> list[str]:
    shares = pixels / max(pixels.sum(), 1)
    counted = str(pixels.sum())
    texts = (sample.id, split, sample.groups_text, str(sample.height), str(sample.width), sample.sha256, counted)
    return [*texts, *(f"{share:.6f}" for share in shares)]
