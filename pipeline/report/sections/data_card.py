"""The data card: images, groups and classes of each split."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from markupsafe import Markup

from pipeline.artifacts.prepared_data import SHOWCASE, SPLITS, PreparedData, SegmentationClass, list_groups
from pipeline.artifacts.project import Project
from pipeline.number_format import MISSING
from pipeline.params.data.fields import list_sides
from pipeline.report.context import ReportContext
from pipeline.report.figures.class_shares import MAX_NARROW_CLASSES, draw_class_shares
from pipeline.report.formatting import SPLIT_NAMES
from pipeline.report.images import LegendEntry
from pipeline.report.notices import Notice, collect_problem
from pipeline.report.sections.contact_sheet import ContactSheet, build_contact_sheet
from pipeline.report.sections.data_files import FileSummary, SkippedFiles, describe_files, describe_skipped
from pipeline.report.sections.split_leakage import SplitLeakage, describe_disjoint_splits, find_split_leakage
from pipeline.wording import format_size, join_words, pluralize


@dataclass(frozen=True)
class SplitOverview:
    """Images, groups and classes of each split."""

    splits: tuple[str, ...]
    counts: dict[str, list[int]]  # number of images, groups and pixels in each split, by heading
    classes: tuple[tuple[LegendEntry, tuple[str, ...]], ...]  # legend of the figure, and the share in each split
    figure: Markup
    is_wide: bool  # whether the figure is wide
    nearly_empty: str  # sentences on classes with few or no pixels in a split; empty if there are none


@dataclass(frozen=True)
class DataCard:
    """Images, groups, classes and files of the data, by split."""

    sentence: str
    limits: str  # sentence on runs that are trained on a part of the training images; empty if there are none
    patches: str  # sentence on the patches of native images; empty for other data
    disjoint: str  # sentence that the splits share no images; empty if they do
    leakage: SplitLeakage | None
    overview: SplitOverview
    sheet: ContactSheet | None
    files: FileSummary | None  # None for composites
    skipped: SkippedFiles | None
    problems: tuple[Notice, ...]


@dataclass(frozen=True)
class _SplitStatistics:
    """The samples of a split, and the pixel counts of its masks."""

    name: str
    rows: pd.DataFrame
    evaluated: int  # pixels that are not ignored
    pixels: tuple[int, ...]  # of each class
    without: int  # images with evaluated pixels, none of them foreground
    ignored: int  # images without evaluated pixels

    @classmethod
    def of(cls, name: str, rows: pd.DataFrame, classes: Sequence[SegmentationClass]) -> _SplitStatistics:
        shares = rows[[f"share_{item.name}" for item in classes]].to_numpy()
        # Images x classes, exact.
        pixels = np.rint(shares * rows[["pixels"]].to_numpy()).astype(np.int64)
        foreground = pixels[:, [item.foreground for item in classes]]
        return cls(
            name=name,
            rows=rows,
            evaluated=int(rows["pixels"].sum()),
            pixels=tuple(pixels.sum(axis=0).tolist()),
            without=int((~foreground.any(axis=1) & (rows["pixels"] > 0)).sum()),
            ignored=int((rows["pixels"] == 0).sum()),
        )

    @property
    def shares(self) -> list[float]:
        """Fractions of the evaluated pixels by class; NaN if no pixels are evaluated."""
        return [pixels / self.evaluated if self.evaluated else math.nan for pixels in self.pixels]


NEARLY_EMPTY = 0.001  # of a split's evaluated pixels; scores of classes with a smaller share mean little
MAX_NAMED = 10  # classes in the sentence on nearly empty ones


def build_data_card(context: ReportContext) -> DataCard:
    """Build the data card.

    Raises:
        PipelineError: The samples or the classes cannot be read.
    """
    samples, classes = context.project.prepared.samples, context.dataset.classes
    if not samples["split"].isin(SPLITS).any():
        raise context.project.prepared.unreadable(PreparedData.SAMPLES, "it lists no image of a split")
    problems: list[Notice] = []
    sheet, files, skipped, limits, patches = None, None, None, "", ""
    with collect_problem(problems, "The training-set sizes that runs use are not described"):
        limits = context.training_limits
    with collect_problem(problems, "Patches are not described"):
        patches = _describe_patches(context)
    with collect_problem(problems, "No example images"):
        sheet = build_contact_sheet(context)
    with collect_problem(problems, "The files are not described"):
        files = describe_files(context.project.prepared.stats)
    with collect_problem(problems, "Skipped files are not listed"):
        skipped = describe_skipped(context.project.prepared.skipped)
    places = samples["split"].where(samples["fold"] == "", "fold " + samples["fold"])
    leakage = find_split_leakage(samples.assign(split=places))
    return DataCard(
        sentence=describe_images(samples),
        limits=limits,
        patches=patches,
        disjoint="" if leakage else describe_disjoint_splits(samples),
        leakage=leakage,
        overview=build_split_overview(samples, classes, context.dataset.folds, context.project),
        sheet=sheet,
        files=files,
        skipped=skipped,
        problems=tuple(problems),
    )


def build_split_overview(
    samples: pd.DataFrame, classes: Sequence[SegmentationClass], folds: int | None, project: Project
) -> SplitOverview:
    """Count the images, groups and pixels of each split that has images, and draw the shares of the classes.

    Args:
        samples: Rows of `samples.csv`, at least one of them in a split.
        classes: The classes of the masks.
        folds: Number of folds; None without cross-validation.
        project: The project with the figures' style.
    """
    of_split = {split: samples[samples["split"] == split] for split in SPLITS}
    names = {**SPLIT_NAMES, "train": f"{folds} folds"} if folds else SPLIT_NAMES
    splits = [_SplitStatistics.of(names[split], rows, classes) for split, rows in of_split.items() if len(rows)]
    return SplitOverview(
        splits=tuple(split.name.capitalize() for split in splits),
        counts=_count_images(splits),
        classes=tuple(
            (LegendEntry(item.color, item.name), tuple(format_share(split.shares[place]) for split in splits))
            for place, item in enumerate(classes)
        ),
        figure=draw_class_shares(
            {split.name: split.shares for split in splits if split.evaluated},
            [item.color for item in classes],
            project,
        ),
        is_wide=len(classes) > MAX_NARROW_CLASSES,
        nearly_empty=_describe_nearly_empty([item.name for item in classes], splits),
    )


def describe_images(samples: pd.DataFrame) -> str:
    """Describe the number of images in the splits and in the showcase, and the sizes of the originals."""
    of_splits = samples[samples["split"].isin(SPLITS)]
    num_showcase = int((samples["split"] == SHOWCASE).sum())
    sizes = Counter(zip(of_splits["width"], of_splits["height"], strict=True))
    showcase = f", and {num_showcase:,} for the showcase" if num_showcase else ""
    images = f"{pluralize(sizes.total(), 'image')} in total{showcase}"
    ordered = sorted(sizes, key=lambda size: (size[0] * size[1], size))
    low, high, most = (f"{w} × {h}" for w, h in (ordered[0], ordered[-1], max(ordered, key=lambda size: sizes[size])))
    if len(sizes) == 1:
        return f"{images}, each of {low} pixels."
    share = f"{max(sizes.values()) / sizes.total():.1%}"
    kinds = f"The originals have {len(sizes):,} sizes"
    return f"{images}. {kinds}, from {low} to {high} pixels, most often {most} ({share})."


def _describe_patches(context: ReportContext) -> str:
    """Describe the patches that native images are trained on, if the data has native images."""
    cells = [context.project.run(row.run).record.cell for row in context.summary.runs if row.best_epoch is not None]
    patches = [cell.get("train", {}).get("patch_size") for cell in cells]
    sizes = dict.fromkeys(format_size(list_sides(patch)) for patch in patches if patch is not None)
    if not sizes:
        return ""
    factor = context.downscale
    size = "Images keep their own size" if factor == 1 else f"Images are shrunk by a factor of {factor:g}"
    shown = f"training sees patches of {join_words(list(sizes))}, and every image is evaluated as a whole, in tiles."
    return f"{size}: {shown}"


def _count_images(splits: Sequence[_SplitStatistics]) -> dict[str, list[int]]:
    """Count images, groups and pixels in each split."""
    groups = [list_groups(split.rows["groups"]) for split in splits]
    counts = {"Images": [len(split.rows) for split in splits]}
    counts["Images without foreground"] = [split.without for split in splits]
    if any(split.ignored for split in splits):
        counts["Images without evaluated pixels"] = [split.ignored for split in splits]
    for factor in dict.fromkeys(factor for rows in groups for factor in rows["factor"]):
        title = "Groups" if factor == "group" else f"Groups: {factor}"
        counts[title] = [rows.loc[rows["factor"] == factor, "name"].nunique() for rows in groups]
    counts["Evaluated pixels"] = [split.evaluated for split in splits]
    return counts


def format_share(share: float) -> str:
    """Format a class's share of the pixels; a share that is not 0 never looks like 0."""
    if math.isnan(share):
        return MISSING
    return f"< {NEARLY_EMPTY:.1%}" if 0 < share < NEARLY_EMPTY else f"{share:.1%}"


def _describe_nearly_empty(names: Sequence[str], splits: Sequence[_SplitStatistics]) -> str:
    """List the classes with few or no pixels in a split; the text is empty if there are none."""
    rare, missing = [], []
    for place, name in enumerate(names):
        few = [split for split in splits if 0 < split.shares[place] < NEARLY_EMPTY]
        if few:
            counts = [f"{split.pixels[place]:,} in {split.name}" for split in few]
            rare.append(f"{name} ({join_words(counts)})")
        if none := [split.name for split in splits if split.evaluated and not split.pixels[place]]:
            missing.append(f"{name} ({join_words(none)})")
    sentences = []
    if rare:
        sentences.append(
            f"These classes have less than {NEARLY_EMPTY:.1%} of a split’s pixels: {_list_first(rare)}. An "
            "IoU over so few pixels means little."
        )
    if missing:
        sentences.append(
            f"These classes are missing from a split: {_list_first(missing)}. Their scores are undefined there, and "
            "mean IoU covers only the other classes."
        )
    return " ".join(sentences)


def _list_first(found: Sequence[str]) -> str:
    rest = len(found) - MAX_NAMED
    more = [pluralize(rest, "other class", "other classes")] if rest > 0 else []
    return join_words([*found[:MAX_NAMED], *more])
