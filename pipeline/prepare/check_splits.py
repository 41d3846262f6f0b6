"""Check that every split and every fold can be used."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipeline.artifacts.prepared_data import SHOWCASE, SPLITS
from pipeline.errors import PipelineError
from pipeline.prepare.source import SourceData
from pipeline.prepare.split_tables import SplitTable
from pipeline.wording import format_size, pluralize


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
        total, remedy = sum(len(other.rows) for other in data.tables.values()), origin.remedy
        if total < len(data.tables):
            few = pluralize(total, "image is", "images are")
            remedy = f"{few} too few: add images until there are at least {len(data.tables)}."
        raise PipelineError(
            f"{origin.key}: there is no sample for '{table.split}', but each of {', '.join((*SPLITS, SHOWCASE))} needs "
            f"at least one. {remedy}"
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
