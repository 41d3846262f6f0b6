"""Sentences on what may be a mistake in the data, from counts over all its masks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from pipeline.prepare.names import listed, number_of
from pipeline.prepare.source import Source
from pipeline.prepare.tables import Table
from pipeline.runs import SHOWCASE, SPLITS, SegmentationClass, Survey

MIN_IMAGES = 10  # with fewer, a class in one of them is nothing special
RARE = 1 / 40  # share of the images: a class in so few may be a mistake in a mask


def describe_masks(tables: Mapping[str, Table], classes: Sequence[SegmentationClass]) -> list[str]:
    """List possible mistakes in the masks: missing and rare classes, images without evaluated pixels.

    Args:
        tables: of the splits and the showcase.
        classes: in the order of their indices.
    """
    return [
        *_missing(tables),
        *_unlearned(tables),
        *_rare(tables.values(), classes),
        *_ignored(tables.values()),
        *_showcase(tables[SHOWCASE]),
    ]


def _missing(tables: Mapping[str, Table]) -> Iterable[str]:
    for split in SPLITS:
        images = len(tables[split].rows)
        if images and (missing := tables[split].missing()):
            masks = f"the {images} masks" if images > 1 else "the one mask"
            if len(missing) == 1:
                yield (
                    f"class '{missing[0]}' occurs in none of {masks} of the split '{split}': its scores are undefined "
                    f"there."
                )
            else:
                yield (
                    f"{len(missing)} classes occur in none of {masks} of the split '{split}', so their scores are "
                    f"undefined there: {listed(missing)}."
                )


def _unlearned(tables: Mapping[str, Table]) -> Iterable[str]:
    train, *others = (tables[split] for split in SPLITS)
    elsewhere = [name for name in train.missing() if any(one.rows and name not in one.missing() for one in others)]
    if train.rows and elsewhere:
        which = f"class '{elsewhere[0]}' occurs" if len(elsewhere) == 1 else f"{len(elsewhere)} classes occur"
        names = "" if len(elsewhere) == 1 else f": {listed(elsewhere)}"
        yield (
            f"{which} in validation or test, but in no training mask: a network cannot learn what it never sees, and "
            f"scores there say nothing about it{names}."
        )


def _rare(tables: Iterable[Table], classes: Sequence[SegmentationClass]) -> Iterable[str]:
    tables = list(tables)
    total = sum(len(table.rows) for table in tables)
    images = np.sum([table.images for table in tables], axis=0)
    most = max(1, int(RARE * total))
    rare = [f"{one.name} ({count})" for one, count in zip(classes, images.tolist(), strict=True) if 0 < count <= most]
    if rare and total >= MIN_IMAGES:
        which = "is it rare" if len(rare) == 1 else "are they rare"
        yield f"Of {total} masks, very few hold {listed(rare)}: {which}, or a mistake in the masks?"
    nowhere = [one.name for one, count in zip(classes, images.tolist(), strict=True) if not count]
    if nowhere and total:
        yield f"No mask at all holds {listed(nowhere)}."


def _ignored(tables: Iterable[Table]) -> Iterable[str]:
    tables = list(tables)
    if empty := sum(table.without_pixels for table in tables):
        total = sum(len(table.rows) for table in tables)
        yield f"In {empty} of {total} masks all pixels are ignored: these images have no scores."
    instead = sum(table.ignored_for_foreground for table in tables)
    beside = sum(table.ignored_beside_foreground for table in tables)
    if instead and not beside:
        yield (
            f"{number_of(instead, 'mask holds', 'masks hold')} ignored pixels and no foreground, and none holds both: "
            f"if the ignored value is another value of the foreground, add it to that class (value: [1, 255]) and "
            f"write ignore: null."
        )


def _showcase(table: Table) -> Iterable[str]:
    names = listed([row[0] for row in table.rows])
    if table.rows and table.without_pixels == len(table.rows):
        yield f"All pixels of the showcase ({names}) are ignored: it has no scores. Choose another in data.showcase."
    elif table.rows and table.without_foreground + table.without_pixels == len(table.rows):
        yield (
            f"The showcase ({names}) has no foreground, so its scores are undefined for these classes. Choose another "
            f"in data.showcase."
        )


def complete_survey(source: Source, tables: Mapping[str, Table]) -> Survey:
    """Add possible mistakes in the masks to the survey of a source whose samples were all asked for."""
    survey = source.survey()
    return replace(survey, notices=(*survey.notices, *describe_masks(tables, source.classes)))
