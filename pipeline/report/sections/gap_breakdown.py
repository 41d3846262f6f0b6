"""Where the gap comes from: the gap by class, group and image, and calibration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
from markupsafe import Markup

from pipeline.analysis.calibration import combine_bins
from pipeline.artifacts.comparison import RunSummary
from pipeline.errors import PipelineError
from pipeline.number_format import format_number
from pipeline.report.figures.reliability_curve import draw_reliability_curve
from pipeline.report.images import LegendEntry
from pipeline.report.notices import NothingToShowError, Notice, collect_problem
from pipeline.report.page_context import PageContext
from pipeline.report.sections.gallery import (
    Sample,
    build_class_legend,
    build_error_legend,
    build_validated_samples,
    name_predictor,
)
from pipeline.wording import capitalize_first


@dataclass(frozen=True)
class ClassGapRow:
    """A class's scores on training and validation images."""

    name: str
    numbers: tuple[float | None, ...]  # one per heading in `CLASS_HEADINGS`
    is_widest: bool = False  # whether it has the largest gap


@dataclass(frozen=True)
class GapBreakdown:
    """The gap of the leading run, broken down by class, group and image, and its calibration.

    With cross-validation, the runs of all folds of its setting are averaged.
    """

    sentence: str
    folds: int | None
    class_headings: tuple[str, ...]
    classes: tuple[ClassGapRow, ...]
    groups: tuple[tuple[str, str, int, float, float], ...]  # kind, name, validation images, validation loss and gap
    reliability: Markup  # a figure; empty if it cannot be drawn
    calibration: str
    worst: tuple[Sample, ...]
    worst_classes: tuple[LegendEntry, ...]  # legends of the worst images
    worst_errors: tuple[LegendEntry, ...]
    setting: str  # the leading run, or with cross-validation, its setting
    predicted_by: str  # heading of the predictions of `worst`
    problems: tuple[Notice, ...]


MAX_GROUPS = 4  # groups of each kind in the table
MAX_IMAGES = 3  # images with the highest loss

CLASS_HEADINGS = ("Training loss", "Validation loss", "Gap", "Training IoU", "Validation IoU")
_CLASS_COLUMNS = ("train_loss", "val_loss", "gap", "train_iou", "val_iou")  # of the breakdown, in this order


def build_gap_breakdown(context: PageContext) -> GapBreakdown:
    """Break down the gap of the leading run.

    Raises:
        PipelineError: No run on the page has finished, or a file is missing or broken.
    """
    run = context.leading_run
    if run is None:
        raise NothingToShowError("No run on this page has finished, so there is no gap.")
    leading = context.summary.get_run(run)
    rows = [context.summary.get_run(name) for name in context.summary.list_fold_runs(leading)]
    parts = context.project.comparison.gap_parts
    parts = parts[parts["run"].isin([row.run for row in rows])]
    problems: list[Notice] = []
    curve, calibration = Markup(""), ""
    with collect_problem(problems, f"{context.name_run(run)}: no reliability curve"):
        curve, calibration = _build_calibration(context, [row.run for row in rows])
    worst = _build_worst(context, _sort_by_gap(parts[parts["part"] == "image"]).head(MAX_IMAGES), problems)
    return GapBreakdown(
        sentence=_describe_verdict(leading),
        folds=context.dataset.folds,
        class_headings=CLASS_HEADINGS,
        classes=_build_class_rows(rows, parts[parts["part"] == "class"], len(context.summary.baseline.iou)),
        groups=_build_group_rows(parts[parts["part"] == "group"]),
        reliability=curve,
        calibration=calibration,
        worst=worst,
        worst_classes=build_class_legend(worst, context.dataset.classes) if worst else (),
        worst_errors=build_error_legend(worst),
        setting=context.name_run(run),
        predicted_by=name_predictor(context, run),
        problems=tuple(problems),
    )


def _describe_verdict(row: RunSummary) -> str:
    """Describe the verdict of a run, the evidence for it, and the gap in mean IoU."""
    found = row.judgment
    if found is None:
        return f"{row.run} has no verdict."
    evidence = "; ".join(found.evidence)
    sentence = f"By its loss curve, {row.run} is {found.verdict}. {capitalize_first(evidence)}."
    if found.onset:
        sentence += f" Validation begins to worsen between epochs {found.onset[0]} and {found.onset[1]}."
    if found.iou_gap is not None and found.iou_gap_last is not None and found.iou_fall is not None:
        sentence += (
            f" Mean IoU on training images minus that on validation images is {format_number(found.iou_gap)} at the "
            f"best epoch and {format_number(found.iou_gap_last)} at the last; on validation, it ends "
            f"{format_number(found.iou_fall)} below its maximum."
        )
    return sentence


def _sort_by_gap(parts: pd.DataFrame) -> pd.DataFrame:
    """Sort the parts of one or several runs, the widest gap first."""
    return parts.sort_values("gap", ascending=False, kind="stable")


def _build_class_rows(rows: Sequence[RunSummary], parts: pd.DataFrame, num_classes: int) -> tuple[ClassGapRow, ...]:
    """Build one row per class, by descending gap, and a last row for all pixels. Values are means over the runs.

    If the training or the validation images have no pixels of a class, mean IoU covers the classes that both have.
    """
    means = _sort_by_gap(parts.groupby("name", sort=False)[list(_CLASS_COLUMNS)].mean())
    widest = means["gap"].idxmax() if len(means) > 1 else None
    classes = [ClassGapRow(str(name), tuple(part), name == widest) for name, part in means.iterrows()]
    losses = [_average([getattr(row, name) for row in rows]) for name in ("train_loss", "val_loss", "gap")]
    if len(means) < num_classes:
        name, iou = "all (mean IoU of the classes above)", [float(means[side].mean()) for side in _CLASS_COLUMNS[-2:]]
        return (*classes, ClassGapRow(name, (*losses, *iou)))
    val_iou = _average([row.val_mean_iou for row in rows])
    gap = _average([row.judgment.iou_gap if row.judgment else None for row in rows])
    train_iou = None if gap is None or val_iou is None else val_iou + gap
    return (*classes, ClassGapRow("all (mean IoU)", (*losses, train_iou, val_iou)))


def _average(values: Sequence[float | None]) -> float | None:
    """Average values; None if one is undefined."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if len(known) == len(values) else None


def _build_group_rows(parts: pd.DataFrame) -> tuple[tuple[str, str, int, float, float], ...]:
    """Build one row per group, for the `MAX_GROUPS` groups of each kind with the largest gaps."""
    rows = []
    for kind, parts_of_kind in parts.groupby(parts["name"].str.split("=", n=1).str[0], sort=False):
        for _, part in _sort_by_gap(parts_of_kind).head(MAX_GROUPS).iterrows():
            name = part["name"].partition("=")[2]
            rows.append((str(kind), name, part["images"], part["val_loss"], part["gap"]))
    return tuple(rows)


def _build_worst(context: PageContext, parts: pd.DataFrame, problems: list[Notice]) -> tuple[Sample, ...]:
    """Build validation images, each with the prediction of its run in the table, if it is stored."""
    kept: dict[str, frozenset[str]] = {}
    for run in parts["run"].unique():
        with collect_problem(problems, f"{run}: no predictions for its worst images"):
            kept[run] = context.project.evaluation(run).list_examples()
    pairs = zip(parts["name"], parts["run"], strict=True)
    return build_validated_samples(context, {name: run for name, run in pairs if name in kept.get(run, ())}, problems)


def _build_calibration(context: PageContext, runs: Sequence[str]) -> tuple[Markup, str]:
    """Draw the reliability curve of the images that runs were validated on, and describe the calibration."""
    found = combine_bins([context.project.evaluation(run).read_calibration() for run in runs])
    if set(found) != {"train", "validation"}:
        raise PipelineError(f"The evaluation of {runs[0]} contains no calibration. Run `dvc repro evaluate@{runs[0]}`.")
    validation = found["validation"]
    sentence = (
        f"On validation, the mean confidence (the probability of the predicted class) is "
        f"{validation.mean_confidence:.1%}, and the accuracy "
        f"{validation.correct.sum() / validation.pixels.sum():.1%}. The "
        f"expected calibration error is {format_number(validation.expected_calibration_error)} on validation and "
        f"{format_number(found['train'].expected_calibration_error)} on training images. Below the gray line, the "
        f"network is overconfident."
    )
    return draw_reliability_curve(found, context.project), sentence
