"""Statistics of the prepared files, and notices about possible mistakes in images, masks and splits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from pipeline.artifacts.prepared_data import SHOWCASE, SPLITS, DatasetStats, SegmentationClass
from pipeline.imaging.metadata import ImageMetadata
from pipeline.prepare.source import SourceData
from pipeline.prepare.split_tables import SplitTable
from pipeline.wording import join_names, pluralize

MAX_DUPLICATES = 10  # pairs listed in the statistics

MIN_IMAGES = 10  # minimum number of images for reporting rare classes
_NAMED = 5  # files in a notice
RARE_SHARE = 1 / 40  # fraction of the images; a class in fewer images may be a mistake


def build_stats(
    stored: Counter[ImageMetadata], duplicates: Sequence[tuple[str, str]], notices: Iterable[str]
) -> DatasetStats:
    """Build the statistics of a data set.

    Args:
        stored: Number of images by their metadata.
        duplicates: Pairs of image ids that are near-duplicates in the same split.
        notices: Sentences about possible mistakes.
    """
    formats = Counter[str]()
    for one, count in stored.items():
        formats[one.kind] += count
    return DatasetStats(
        formats=dict(sorted(formats.items(), key=lambda item: (-item[1], item[0]))),
        rotated=sum(count for one, count in stored.items() if one.is_turned),
        transparent=sum(count for one, count in stored.items() if one.has_transparency),
        compared=stored.total(),
        duplicates=len(duplicates),
        first_duplicates=tuple(duplicates[:MAX_DUPLICATES]),
        notices=tuple(notices),
    )


def describe_masks(tables: Mapping[str, SplitTable], classes: Sequence[SegmentationClass]) -> list[str]:
    """List possible mistakes in the masks of the splits and the showcase."""
    return [
        *_describe_missing(tables),
        *_describe_unlearned(tables),
        *_describe_missing_from_folds(tables["train"], classes),
        *_describe_rare(list(tables.values()), classes),
        *_describe_ignored(list(tables.values())),
        *_describe_showcase(tables[SHOWCASE]),
    ]


def _describe_missing(tables: Mapping[str, SplitTable]) -> Iterable[str]:
    for split in SPLITS:
        images, missing = len(tables[split].rows), tables[split].missing()
        masks = f"none of the {images} masks" if images > 1 else "no mask"
        if images and len(missing) == 1:
            yield f"class '{missing[0]}' occurs in {masks} of the split '{split}', so its scores are undefined there."
        elif images and missing:
            yield (
                f"{len(missing)} classes occur in {masks} of the split '{split}', so their scores are undefined "
                f"there: {join_names(missing)}."
            )


def _describe_unlearned(tables: Mapping[str, SplitTable]) -> Iterable[str]:
    train, *others = (tables[split] for split in SPLITS)
    elsewhere = [name for name in train.missing() if any(one.rows and name not in one.missing() for one in others)]
    if train.rows and elsewhere:
        which = f"class '{elsewhere[0]}' occurs" if len(elsewhere) == 1 else f"{len(elsewhere)} classes occur"
        names = "" if len(elsewhere) == 1 else f" ({join_names(elsewhere)})"
        yield (
            f"{which} in validation or test, but in no training mask{names}. A network cannot learn a class that it "
            f"never sees, so these scores are meaningless."
        )


def _describe_missing_from_folds(table: SplitTable, classes: Sequence[SegmentationClass]) -> Iterable[str]:
    for place, item in enumerate(classes):
        folds = [str(fold) for fold, pixels in sorted(table.fold_pixels.items()) if not pixels[place]]
        if folds and table.pixels[place]:
            yield (
                f"class '{item.name}' occurs in no mask of {'fold' if len(folds) == 1 else 'folds'} "
                f"{join_names(folds)}, so its scores are undefined there. splits.stratify: true distributes rare "
                f"classes."
            )


def _describe_rare(tables: Sequence[SplitTable], classes: Sequence[SegmentationClass]) -> Iterable[str]:
    total = sum(len(table.rows) for table in tables)
    images = np.sum([table.images for table in tables], axis=0)
    counts = {one.name: count for one, count in zip(classes, images.tolist(), strict=True)}
    rare = [f"{name} ({count})" for name, count in counts.items() if 0 < count <= max(1, int(RARE_SHARE * total))]
    if rare and total >= MIN_IMAGES:
        which = "is it rare" if len(rare) == 1 else "are they rare"
        yield f"Very few of the {total} masks contain {join_names(rare)}: {which}, or are the masks wrong?"
    nowhere = [name for name, count in counts.items() if not count]
    if nowhere and total:
        yield f"No mask contains {join_names(nowhere)}."


def _describe_ignored(tables: Sequence[SplitTable]) -> Iterable[str]:
    if empty := sum(table.without_pixels for table in tables):
        total = sum(len(table.rows) for table in tables)
        yield f"All pixels are ignored in {empty} of {total} masks, so these images have no scores."
    instead = sum(table.ignored_for_foreground for table in tables)
    beside = sum(table.ignored_beside_foreground for table in tables)
    if instead and not beside:
        yield (
            f"{pluralize(instead, 'mask contains', 'masks contain')} ignored pixels but no foreground, and no mask "
            "contains both. If the ignored value also means foreground, add it to the foreground class (mask_value: "
            "[1, 255]) and write ignore_value: null."
        )


def _describe_showcase(table: SplitTable) -> Iterable[str]:
    names = join_names([row[0] for row in table.rows])
    if table.rows and table.without_pixels == len(table.rows):
        yield (
            f"All pixels of the showcase ({names}) are ignored, so it has no scores. Choose another image in "
            f"data.showcase_ids."
        )
    elif table.rows and table.without_foreground + table.without_pixels == len(table.rows):
        yield (
            f"The showcase ({names}) has no foreground, so its foreground scores are undefined. Choose another image "
            f"in data.showcase_ids."
        )


def describe_faint(files: Mapping[str, int], key: str) -> Iterable[str]:
    """Describe mask files that have only one class, because their highest values are below the threshold.

    Args:
        files: Highest value of each file.
        key: Key of the section.
    """
    if files:
        which = pluralize(len(files), "mask file has", "mask files have")
        yield (
            f"{which} only one class, because the highest value, {max(files.values())}, is below "
            f"{key}.mask_threshold: {join_names(sorted(files), _NAMED)}. Save them with the same values as the other "
            f"masks."
        )


def add_mask_notices(data: SourceData) -> DatasetStats:
    """Return a source's statistics, with added notices about possible mistakes in its masks."""
    return replace(data.stats, notices=(*data.stats.notices, *describe_masks(data.tables, data.classes)))


def describe_leaks(left_out: Counter[tuple[str, str]], is_published: bool) -> Iterable[str]:
    """Describe how many images were left out of each split, and why.

    Args:
        left_out: Number of images by (split, split of an image that looks the same).
        is_published: Whether the splits are those of a published data set.
    """
    parts = []
    folds = sorted({name for pair in left_out for name in pair} - {*SPLITS, SHOWCASE})
    for split in (*SPLITS, *folds):
        others = {other: count for (of, other), count in left_out.items() if of == split}
        if count := sum(others.values()):
            named = " or ".join(other for other in (*SPLITS, *folds) if other in others) or "the showcase"
            images = pluralize(count, "image was", "images were")
            parts.append(f"{images} left out of {split}, because {named} contains the same image")
    if parts:
        known = "known leak of the published data set" if is_published else "leak between the splits of the data set"
        effect = "Keeping these images would make the scores and the gap look better than they are."
        yield f"{'; '.join(parts)}: a {known}. {effect}"
