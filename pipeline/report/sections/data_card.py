"""The data card: what was trained and tested on, as far as the prepared files tell."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import pandas as pd
from markupsafe import Markup

from pipeline import runs
from pipeline.errors import PipelineError
from pipeline.report import view, wording
from pipeline.report.figures import pictures
from pipeline.report.figures.shares import FEW, share_bars
from pipeline.report.material import Material
from pipeline.report.sections.contact_sheet import ContactSheet, contact_sheet
from pipeline.report.sections.data_files import Files, SetAside, files, set_aside
from pipeline.report.sections.overlap import Overlap, disjoint, group_names, overlap
from pipeline.runs import SegmentationClass


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
    is_wide: bool  # the figure
    nearly_empty: str  # empty where no class is
    sheet: ContactSheet | None
    files: Files | None  # None of composites, and of data prepared before there was a survey
    set_aside: SetAside | None
    problems: tuple[view.Card, ...]


@dataclass(frozen=True)
class _Split:
    """A split's rows of the samples, and what stands in its masks."""

    name: str
    rows: pd.DataFrame
    counted: int  # pixels that are not ignored
    pixels: tuple[int, ...]  # of each class
    without: int  # images with evaluated pixels, none of them foreground
    ignored: int  # images without evaluated pixels

    @classmethod
    def of(cls, split: str, rows: pd.DataFrame, classes: Sequence[SegmentationClass]) -> _Split:
        shares = rows[[f"share_{item.name}" for item in classes]].to_numpy()
        # Image x class. Exact up to a million pixels an image, as the shares are written with six decimals.
        pixels = np.rint(shares * rows[["pixels"]].to_numpy()).astype(np.int64)
        foreground = pixels[:, [item.foreground for item in classes]]
        return cls(
            name=wording.SPLITS[split],
            rows=rows,
            counted=int(rows["pixels"].sum()),
            pixels=tuple(pixels.sum(axis=0).tolist()),
            without=int((~foreground.any(axis=1) & (rows["pixels"] > 0)).sum()),
            ignored=int((rows["pixels"] == 0).sum()),
        )

    @property
    def shares(self) -> list[float]:
        """Of each class in the evaluated pixels; NaN without any."""
        return [pixels / self.counted if self.counted else math.nan for pixels in self.pixels]


NEARLY_EMPTY = 0.001  # of a split's pixels that count: a class with a smaller share is scored on next to nothing
MOST_NAMED = 10  # classes in the sentence on nearly empty ones

T = TypeVar("T")


def data_card(material: Material, root: Path) -> DataCard:
    """The card; raises `PipelineError` where the samples or the classes cannot be read."""
    samples, classes = material.sample_table, material.data.classes
    of_split = {split: samples[samples["split"] == split] for split in runs.SPLITS}
    splits = [_Split.of(split, rows, classes) for split, rows in of_split.items() if len(rows)]
    if not splits:
        raise PipelineError(f"{runs.PREPARED / runs.SAMPLES} names no image of a split. Run `pipeline prepare` again.")
    problems: list[view.Card] = []
    found = overlap(samples)
    return DataCard(
        sentence=_sentence(splits, int((samples["split"] == runs.SHOWCASE).sum())),
        disjoint="" if found else disjoint(samples),
        overlap=found,
        splits=tuple(split.name.capitalize() for split in splits),
        counts=_counts(splits),
        classes=tuple(
            ClassLine(place + 1, pictures.key(item), tuple(_percent(split.shares[place]) for split in splits))
            for place, item in enumerate(classes)
        ),
        figure=share_bars(
            {split.name: split.shares for split in splits if split.counted}, [item.colour for item in classes], root
        ),
        is_wide=len(classes) > FEW,
        nearly_empty=_nearly_empty([item.name for item in classes], splits),
        sheet=_unless_broken("No pictures of the data", problems, lambda: contact_sheet(material)),
        files=_unless_broken(
            "What the files were is not known",
            problems,
            lambda: files(material.survey) if material.survey else None,
        ),
        set_aside=_unless_broken("What was set aside is not known", problems, lambda: set_aside(material.rejected)),
        problems=tuple(problems),
    )


def _sentence(splits: Sequence[_Split], apart: int) -> str:
    """How many images there are, `apart` for the showcase beside them, and their sizes before they were prepared."""
    sizes = Counter(size for split in splits for size in zip(split.rows["width"], split.rows["height"], strict=True))
    beside = f", and {wording.whole(apart)} beside them for the showcase" if apart else ""
    images = f"{wording.plural(sizes.total(), 'image')} in all{beside}"
    ordered = sorted(sizes, key=lambda size: (size[0] * size[1], size))
    low, high, most = (f"{w} × {h}" for w, h in (ordered[0], ordered[-1], max(ordered, key=lambda size: sizes[size])))
    if len(sizes) == 1:
        return f"{images}, each of {low} pixels."
    share = wording.percent(max(sizes.values()) / sizes.total())
    kinds = f"The originals have {wording.whole(len(sizes))} sizes"
    return f"{images}. {kinds}, from {low} to {high} pixels, most often {most} ({share})."


def _counts(splits: Sequence[_Split]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    groups = [group_names(split.rows) for split in splits]
    ignored = [split.ignored for split in splits]
    factors = dict.fromkeys(factor for rows in groups for factor in rows["factor"].unique())
    counts = {
        "Images": [len(split.rows) for split in splits],
        "Images without foreground": [split.without for split in splits],
        **({"Images without evaluated pixels": ignored} if any(ignored) else {}),
        **{
            "Groups" if factor == "group" else f"Groups: {factor}": [
                rows.loc[rows["factor"] == factor, "name"].nunique() for rows in groups
            ]
            for factor in factors
        },
        "Pixels that count": [split.counted for split in splits],
    }
    return tuple((what, tuple(map(wording.whole, numbers))) for what, numbers in counts.items())


def _percent(share: float) -> str:
    if math.isnan(share):
        return wording.NONE
    return f"< {wording.percent(NEARLY_EMPTY)}" if 0 < share < NEARLY_EMPTY else wording.percent(share)


def _nearly_empty(names: Sequence[str], splits: Sequence[_Split]) -> str:
    """Report classes with few or no pixels in a split; empty if there are none."""
    rare, missing = [], []
    for place, name in enumerate(names):
        few = [split for split in splits if 0 < split.shares[place] < NEARLY_EMPTY]
        if few:
            counts = [f"{wording.whole(split.pixels[place])} in {split.name}" for split in few]
            rare.append(f"{name} ({wording.listing(counts)})")
        if none := [split.name for split in splits if split.counted and not split.pixels[place]]:
            missing.append(f"{name} ({wording.listing(none)})")
    sentences = []
    if rare:
        sentences.append(
            f"Less than {wording.percent(NEARLY_EMPTY)} of a split’s pixels: {_first(rare)}. An IoU over so few pixels "
            "says little."
        )
    if missing:
        sentences.append(
            f"Missing from a split: {_first(missing)}. Scores of these classes are not defined there, and mean IoU is "
            "over the others."
        )
    return " ".join(sentences)


def _first(found: Sequence[str]) -> str:
    rest = len(found) - MOST_NAMED
    more = [wording.plural(rest, "other class", "other classes")] if rest > 0 else []
    return wording.listing([*found[:MOST_NAMED], *more])


def _unless_broken(title: str, problems: list[view.Card], build: Callable[[], T]) -> T | None:
    """What is built, or a card among the problems where a file of it cannot be read."""
    try:
        return build()
    except PipelineError as error:
        problems.append(view.Card.of(title, error))
        return None
