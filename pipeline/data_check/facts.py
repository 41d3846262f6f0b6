"""The facts at the top of the page: number, sizes and formats of the images, groups and splits."""

from __future__ import annotations

from collections import Counter

import pandas as pd

from pipeline.artifacts.prepared_data import SHOWCASE, SPLITS, list_groups
from pipeline.data_check.check_folder import DataCheck
from pipeline.data_check.validation_report import ValidationReport
from pipeline.params.file import PARAMS_FILE
from pipeline.report.formatting import SPLIT_NAMES
from pipeline.wording import join_words, pluralize

MAX_FORMATS = 8
MAX_GROUPS = 12  # groups in the table

Fact = tuple[str, str]  # name and value


def list_facts(check: DataCheck, samples: pd.DataFrame) -> list[Fact]:
    """List the facts about a folder, as far as they are known.

    Args:
        check: The check of the folder.
        samples: Rows of `samples.csv` for the valid samples.
    """
    is_written = check.origin == str(PARAMS_FILE)
    origin = check.origin if is_written else f"the data section that {check.origin.replace('`', '')} would write"
    facts = [("Read with", origin)] if check.origin else []
    if check.report is None:
        return facts
    data = check.report.data
    facts += [("Usable images", f"{len(samples):,}"), *_describe_files(check.report, samples)]
    if len(samples):
        facts.append(("Groups", _describe_groups(samples)))
        facts.append(("Folds" if data.folds is not None else "Splits", _describe_splits(samples, data.folds)))
    facts.append(("Left out", pluralize(len(data.skipped), "file") if data.skipped else "none"))
    return facts


def _describe_files(report: ValidationReport, samples: pd.DataFrame) -> list[Fact]:
    stats, facts = report.data.stats, list[Fact]()
    if len(samples):
        sizes = Counter(zip(samples["width"], samples["height"], strict=True))
        ordered = sorted(sizes, key=lambda size: (size[0] * size[1], size))
        low, high = (f"{width} × {height} px" for width, height in (ordered[0], ordered[-1]))
        (width, height), often = max(sizes.items(), key=lambda item: (item[1], item[0]))
        common = f"most often {width} × {height} px ({pluralize(often, 'image')})"
        facts.append(("Sizes", low if len(sizes) == 1 else f"{low} to {high}, {common}"))
    if stats.formats:
        formats = [f"{kind} ({count:,})" for kind, count in stats.formats.items()]
        facts.append(("Formats", join_words(formats, MAX_FORMATS)))
    if stats.rotated:
        facts.append(("Turned upright", f"{pluralize(stats.rotated, 'image')}, by their EXIF orientation"))
    if stats.transparent:
        facts.append(("Transparent", f"{pluralize(stats.transparent, 'image')}, whose transparent parts become black"))
    return facts


def _describe_groups(samples: pd.DataFrame) -> str:
    groups = list_groups(samples["groups"]).drop_duplicates()
    if groups.empty:
        return "none declared, so each image is a group of its own"
    counts = groups["factor"].value_counts(sort=False)
    return join_words([pluralize(int(count), str(factor)) for factor, count in counts.items()])


def _describe_splits(samples: pd.DataFrame, folds: int | None) -> str:
    counts = samples["split"].value_counts()
    parts = []
    if folds is not None:
        images = samples.loc[samples["fold"] != "", "fold"].value_counts()
        low, high = (int(end) for end in (images.min(), images.max()))
        each = pluralize(high, "image") if low == high else f"{low:,} to {pluralize(high, 'image')}"
        parts.append(f"{folds} of {each}")
    names = [split for split in (*SPLITS, SHOWCASE) if split in counts and not (folds is not None and split == "train")]
    parts += [f"{SPLIT_NAMES[split].removeprefix('the ')} {int(counts[split]):,}" for split in names]
    return ", ".join(parts)


def list_largest_groups(samples: pd.DataFrame) -> tuple[list[tuple[str, str, int, str]], int]:
    """List the largest groups: factor, name, number of images, and splits or folds. Also return their total number."""
    places = samples["split"].where(samples["fold"] == "", "fold " + samples["fold"])
    groups = list_groups(samples["groups"])
    groups = groups.assign(place=places[groups.index])
    rows = []
    for (factor, name), members in groups.groupby(["factor", "name"], sort=True):
        splits = [SPLIT_NAMES.get(str(place), str(place)) for place in dict.fromkeys(members["place"])]
        rows.append((str(factor), str(name), len(members), join_words(splits)))
    return sorted(rows, key=lambda row: (-row[2], row[0], row[1]))[:MAX_GROUPS], len(rows)
