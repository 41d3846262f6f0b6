"""A contact sheet per class: images in which the class is largest, typical and smallest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from pipeline.artifacts.prepared_data import SegmentationClass
from pipeline.data_check.samples import View
from pipeline.report.images import EmbeddedImage, LegendEntry
from pipeline.report.sections.data_card import format_share

MAX_THUMBNAILS = 180  # on all sheets together
MAX_PER_ROW = 3  # images in a row of a sheet
MAX_CLASSES = 60  # classes with a sheet

Rows = tuple[tuple[str, tuple[str, ...]], ...]  # label and ids of each row


@dataclass(frozen=True)
class ClassImages:
    """How often a class occurs, and the ids of images with it."""

    legend: LegendEntry
    sentence: str
    rows: Rows
    shares: Mapping[str, str]  # share of the class in each of these images, by id

    def list_views(self) -> list[View]:
        """List the thumbnails to render."""
        return [(name, self.legend.text) for _, names in self.rows for name in names]


@dataclass(frozen=True)
class ClassSheet:
    """How often a class occurs, and thumbnails of images with it."""

    legend: LegendEntry
    sentence: str
    rows: tuple[tuple[str, tuple[tuple[EmbeddedImage, str], ...]], ...]  # label, and images with shares


def choose_class_images(samples: pd.DataFrame, classes: Sequence[SegmentationClass]) -> list[ClassImages]:
    """Choose images for each class, by the class's share of their evaluated pixels.

    Args:
        samples: Rows of `samples.csv`.
        classes: The classes of the masks.
    """
    per_row = max(1, min(MAX_PER_ROW, MAX_THUMBNAILS // (3 * max(1, len(classes)))))
    total = int(samples["pixels"].sum())
    chosen: list[ClassImages] = []
    for item in classes:
        name = f"share_{item.name}"
        column = samples[name]
        present = samples[column > 0].sort_values([name, "id"], ascending=[False, True])
        ids = present["id"].tolist()
        share = float((column * samples["pixels"]).sum()) / total if total else 0.0
        fraction = f" ({len(ids) / len(samples):.1%})" if len(samples) else ""
        sentence = (
            f"{format_share(share)} of the evaluated pixels; in {len(ids):,} of {len(samples):,} images{fraction}."
        )
        rows = _choose_rows(ids, per_row) if len(chosen) < MAX_CLASSES else ()
        shown = {one for _, row in rows for one in row}
        shares = {one: format_share(value) for one, value in zip(ids, present[name], strict=True) if one in shown}
        chosen.append(ClassImages(LegendEntry(item.color, item.name), sentence, rows, shares))
    return chosen


def _choose_rows(ids: Sequence[str], per_row: int) -> Rows:
    """Choose rows of images from ids in descending order of the share."""
    if not ids:
        return ()
    if len(ids) <= 3 * per_row:
        return (("All images with this class, largest first", tuple(ids)),)
    middle = (len(ids) - per_row) // 2
    return (
        ("Largest", tuple(ids[:per_row])),
        ("Typical", tuple(ids[middle : middle + per_row])),
        ("Smallest", tuple(ids[-per_row:])),
    )


def show_class(chosen: ClassImages, thumbnails: Mapping[View, EmbeddedImage]) -> ClassSheet:
    """Add thumbnails to the images of a class."""
    name = chosen.legend.text
    rows = tuple(
        (label, tuple((thumbnails[one, name], chosen.shares[one]) for one in names if (one, name) in thumbnails))
        for label, names in chosen.rows
    )
    return ClassSheet(chosen.legend, chosen.sentence, rows)
