"""The data card: what was trained and tested on, as far as the prepared files tell."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from markupsafe import Markup

from pipeline import runs
from pipeline.errors import PipelineError
from pipeline.report import view, wording
from pipeline.report.figures import pictures
from pipeline.report.figures.shares import share_bars
from pipeline.report.material import Material
from pipeline.report.sections.contact_sheet import ContactSheet, contact_sheet
from pipeline.report.sections.data_files import Files, SetAside, files, set_aside
from pipeline.report.sections.overlap import Overlap, disjoint, group_names, overlap


@dataclass(frozen=True)
class ClassLine:
    """A class in the table, which is the figure's legend too."""

    number: int
    key: view.Key
    shares: tuple[str, ...]


@dataclass(frozen=True)
class DataCard:
    """The data set, split by split."""

    sentence: str
    disjoint: str  # empty where the splits are not
    overlap: Overlap | None
    splits: tuple[str, ...]
    counts: tuple[tuple[str, tuple[str, ...]], ...]  # what is counted, and how much of it each split has
    classes: tuple[ClassLine, ...]
    figure: Markup
    sizes: str  # empty where all originals have one size
    sheet: ContactSheet | None
    files: Files | None  # None of data prepared before there was a survey
    set_aside: SetAside | None
    nearly_empty: str
    problems: tuple[view.Card, ...]


NEARLY_EMPTY = 0.001  # of a split's counted pixels: a class with a smaller share is scored on next to nothing
COMMONEST = 3  # sizes that are named
MOST_NAMED = 10  # classes in the sentence on nearly empty ones


def data_card(material: Material, root: Path) -> DataCard:
    """The card; raises `PipelineError` where the samples or the classes cannot be read."""
    samples, classes = material.sample_table, material.data.classes
    by_split = {split: samples[samples["split"] == split] for split in runs.SPLITS}
    by_split = {split: rows for split, rows in by_split.items() if len(rows)}
    if not by_split:
        raise PipelineError(f"{runs.PREPARED / runs.SAMPLES} names no image of a split. Run `pipeline prepare` again.")
    sizes = _sizes(pd.concat(by_split.values()))
    names = [item.name for item in classes]
    shares = {split: _shares(rows, names) for split, rows in by_split.items()}
    problems: list[view.Card] = []
    found = overlap(samples)
    return DataCard(
        sentence=_sentence(sizes, int((samples["split"] == runs.SHOWCASE).sum())),
        disjoint="" if found else disjoint(samples),
        overlap=found,
        splits=tuple(wording.SPLITS[split].capitalize() for split in by_split),
        counts=_counts(by_split),
        classes=tuple(
            ClassLine(place + 1, pictures.key(item), tuple(_percent(shares[split][place]) for split in by_split))
            for place, item in enumerate(classes)
        ),
        figure=share_bars(
            {wording.SPLITS[split]: values for split, values in shares.items()}, [item.colour for item in classes], root
        ),
        sizes=_distribution(sizes),
        sheet=_sheet(material, problems),
        files=_files(material, problems),
        set_aside=_set_aside(material, problems),
        nearly_empty=_nearly_empty(names, shares),
        problems=tuple(problems),
    )


def _sizes(rows: pd.DataFrame) -> dict[tuple[int, int], int]:
    """How many originals have a size (height, width), the commonest first."""
    sizes = zip(rows["height"].tolist(), rows["width"].tolist(), strict=True)
    return dict(sorted(Counter(sizes).items(), key=lambda item: (-item[1], item[0])))


def _sentence(sizes: Mapping[tuple[int, int], int], apart: int) -> str:
    """How many images there are, `apart` for the showcase among them, and from which size to which."""
    total = sum(sizes.values())
    images = f"{wording.whole(total)} {'image' if total == 1 else 'images'} in all"
    beside = f", and {wording.whole(apart)} beside them for the showcase" if apart else ""
    areas = sorted((height * width, height, width) for height, width in sizes)
    low, high = (_size(height, width) for _, height, width in (areas[0], areas[-1]))
    if len(sizes) == 1:
        return f"{images}{beside}, each of {low} pixels."
    commonest, count = next(iter(sizes.items()))
    often = "most of them" if 2 * count > total else "most often"
    return f"{images}{beside}. From {low} to {high} pixels, {often} {_size(*commonest)}."


def _distribution(sizes: Mapping[tuple[int, int], int]) -> str:
    if len(sizes) == 1:
        return ""
    total = sum(sizes.values())
    named = [f"{_size(*size)} ({wording.percent(count / total)})" for size, count in list(sizes.items())[:COMMONEST]]
    rest = len(sizes) - len(named)
    others = [wording.plural(rest, "other size")] if rest else []
    return f"Sizes of the originals: {wording.listing([*named, *others])}."


def _size(height: int, width: int) -> str:
    return f"{width} × {height}"


def _counts(by_split: Mapping[str, pd.DataFrame]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    groups = {split: group_names(rows) for split, rows in by_split.items()}
    factors = dict.fromkeys(factor for rows in groups.values() for factor in rows["factor"].unique())
    return (
        ("Images", tuple(wording.whole(len(rows)) for rows in by_split.values())),
        *(
            (
                "Groups" if factor == "group" else f"Groups: {factor}",
                tuple(wording.whole(rows.loc[rows["factor"] == factor, "name"].nunique()) for rows in groups.values()),
            )
            for factor in factors
        ),
        ("Pixels that count", tuple(wording.whole(int(rows["pixels"].sum())) for rows in by_split.values())),
    )


def _shares(rows: pd.DataFrame, names: list[str]) -> list[float]:
    """Of the split's counted pixels, each class's share."""
    weights = rows["pixels"] / max(int(rows["pixels"].sum()), 1)
    return [float((rows[f"share_{name}"] * weights).sum()) for name in names]


def _percent(share: float) -> str:
    return f"< {wording.percent(NEARLY_EMPTY)}" if 0 < share < NEARLY_EMPTY else wording.percent(share)


def _nearly_empty(names: list[str], shares: Mapping[str, list[float]]) -> str:
    """A sentence on the classes of which a split has next to no pixels; empty where there are none."""
    found = []
    for place, name in enumerate(names):
        few = {wording.SPLITS[split]: values[place] for split, values in shares.items() if values[place] < NEARLY_EMPTY}
        if few:
            parts = [f"{100 * share:.2g} % of {split}" if share else f"none of {split}" for split, share in few.items()]
            found.append(f"{name} ({wording.listing(parts)})")
    if not found:
        return ""
    rest = len(found) - MOST_NAMED
    more = [wording.plural(rest, "other class", "other classes")] if rest > 0 else []
    return (
        f"Less than {wording.percent(NEARLY_EMPTY)} of a split’s counted pixels: "
        f"{wording.listing([*found[:MOST_NAMED], *more])}. An IoU on so few pixels says little."
    )


def _sheet(material: Material, problems: list[view.Card]) -> ContactSheet | None:
    try:
        return contact_sheet(material)
    except PipelineError as error:
        problems.append(view.Card.of("No pictures of the data", error))
        return None


def _files(material: Material, problems: list[view.Card]) -> Files | None:
    try:
        return files(material.survey) if material.survey else None
    except PipelineError as error:
        problems.append(view.Card.of("What the files were is not known", error))
        return None


def _set_aside(material: Material, problems: list[view.Card]) -> SetAside | None:
    try:
        return set_aside(material.rejected)
    except PipelineError as error:
        problems.append(view.Card.of("What was set aside is not known", error))
        return None
