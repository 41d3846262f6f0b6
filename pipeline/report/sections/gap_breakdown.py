"""Where a run's gap comes from: the gap by class, group and image, and calibration."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd
from markupsafe import Markup
from matplotlib.figure import Figure

from pipeline.artifacts.comparison import RunSummary
from pipeline.artifacts.project import Project
from pipeline.errors import PipelineError
from pipeline.report.context import ReportContext
from pipeline.report.figures import svg
from pipeline.report.formatting import format_number, format_percent
from pipeline.report.run_selection import RunSelection, find_leading_run
from pipeline.report.sections.gallery import Sample, build_class_legend, build_error_legend, build_samples
from pipeline.report.view_models import LegendEntry, NothingToShowError, Notice, collect_problem


@dataclass(frozen=True)
class ClassGapRow:
    """A class's scores on training and validation images."""

    name: str
    numbers: tuple[float | None, ...]  # one per heading in `CLASS_HEADINGS`
    is_widest: bool = False  # whether it has the largest gap


@dataclass(frozen=True)
class GapBreakdown:
    """The gap of one run, broken down by class, group and image, and the run's calibration."""

    sentence: str
    class_headings: tuple[str, ...]
    classes: tuple[ClassGapRow, ...]
    groups: tuple[tuple[str, str, int, float, float], ...]  # kind, name, validation images, validation loss and gap
    reliability: Markup  # a figure; empty if it cannot be drawn
    calibration: str
    worst: tuple[Sample, ...]
    worst_classes: tuple[LegendEntry, ...]  # legends of the worst images
    worst_errors: tuple[LegendEntry, ...]
    run: str
    problems: tuple[Notice, ...]


MAX_GROUPS = 4  # groups of each kind in the table
MAX_IMAGES = 3  # images with the highest loss

CLASS_HEADINGS = ("Training loss", "Validation loss", "Gap", "Training IoU", "Validation IoU")


def build_gap_breakdown(context: ReportContext, selection: RunSelection) -> GapBreakdown:
    """Break down the gap of the leading run.

    Raises:
        PipelineError: No run on the page has finished, or a file is missing or broken.
    """
    run = find_leading_run(context.summary, selection)
    if run is None:
        raise NothingToShowError("No run on this page has finished, so there is no gap.")
    row = context.summary.get_run(run)
    parts = context.project.comparison.gap_parts[context.project.comparison.gap_parts["run"] == run]
    problems: list[Notice] = []
    curve, calibration = Markup(""), ""
    with collect_problem(problems, f"{run}: no reliability curve"):
        curve, calibration = _build_calibration(context, run)
    worst: tuple[Sample, ...] = ()
    with collect_problem(problems, f"{run}: no predictions for its worst images"):
        kept = context.project.evaluation(run).list_examples()
        names = [str(name) for name in parts.loc[parts["part"] == "image", "name"].head(MAX_IMAGES) if name in kept]
        worst = build_samples(context, {run: kept}, names, problems)
    return GapBreakdown(
        sentence=_describe_verdict(row),
        class_headings=CLASS_HEADINGS,
        classes=_build_class_rows(row, parts[parts["part"] == "class"], len(context.summary.baseline.iou)),
        groups=_build_group_rows(parts[parts["part"] == "group"]),
        reliability=curve,
        calibration=calibration,
        worst=worst,
        worst_classes=build_class_legend(worst, context.dataset.classes) if worst else (),
        worst_errors=build_error_legend(worst),
        run=run,
        problems=tuple(problems),
    )


def _describe_verdict(row: RunSummary) -> str:
    """Describe the verdict of a run, the evidence for it, and the gap in mean IoU."""
    found = row.judgment
    if found is None:
        return f"{row.run} has no verdict."
    evidence = "; ".join(found.evidence)
    sentence = f"By its loss curve, {row.run} is {found.verdict}. {evidence[:1].upper()}{evidence[1:]}."
    if found.onset:
        sentence += f" Validation begins to worsen between epochs {found.onset[0]} and {found.onset[1]}."
    if found.iou_gap is not None and found.iou_gap_last is not None and found.iou_fall is not None:
        sentence += (
            f" Mean IoU is higher on training than on validation images by {format_number(found.iou_gap)} at the best "
            f"epoch, by {format_number(found.iou_gap_last)} at the last; on validation, it ends "
            f"{format_number(found.iou_fall)} below its maximum."
        )
    return sentence


def _build_class_rows(row: RunSummary, parts: pd.DataFrame, num_classes: int) -> tuple[ClassGapRow, ...]:
    """Build one row per class, by descending gap, and a last row for all pixels.

    If the training or the validation images have no pixels of a class, mean IoU covers the classes that both have.
    """
    widest = parts["gap"].idxmax() if len(parts) > 1 else None
    rows = [
        ClassGapRow(
            part["name"], tuple(part[["train_loss", "val_loss", "gap", "train_iou", "val_iou"]]), index == widest
        )
        for index, part in parts.sort_values("gap", ascending=False, kind="stable").iterrows()
    ]
    name = "all (mean IoU)"
    gap, val_iou = row.judgment.iou_gap if row.judgment else None, row.val_mean_iou
    train_iou = None if gap is None or val_iou is None else val_iou + gap
    if len(parts) < num_classes:
        name = "all (mean IoU of the classes above)"
        train_iou, val_iou = (float(parts[side].mean()) for side in ("train_iou", "val_iou"))
    return (*rows, ClassGapRow(name, (row.train_loss, row.val_loss, row.gap, train_iou, val_iou)))


def _build_group_rows(parts: pd.DataFrame) -> tuple[tuple[str, str, int, float, float], ...]:
    """Build one row per group, for the `MAX_GROUPS` groups of each kind with the largest gaps."""
    rows = []
    for kind, parts_of_kind in parts.groupby(parts["name"].str.split("=", n=1).str[0], sort=False):
        for _, part in parts_of_kind.head(MAX_GROUPS).iterrows():
            name = part["name"].partition("=")[2]
            rows.append((str(kind), name, part["images"], part["val_loss"], part["gap"]))
    return tuple(rows)


def _build_calibration(context: ReportContext, run: str) -> tuple[Markup, str]:
    """Draw the reliability curve of a run, and describe its calibration."""
    scores, table = context.project.evaluation(run).metrics, context.project.evaluation(run).read_calibration()
    train, validation, scored = scores.train_calibration, scores.val_calibration, scores.validation
    if train is None or validation is None or scored is None or scored.accuracy is None:
        raise PipelineError(f"The evaluation of {run} contains no calibration. Run `dvc repro evaluate@{run}`.")
    sentence = (
        f"On validation, its mean confidence (the probability of the predicted class) is "
        f"{format_percent(validation.confidence)}, and its accuracy {format_percent(scored.accuracy)}. The "
        f"expected calibration error is {format_number(validation.error)} on validation and "
        f"{format_number(train.error)} on training images. Below the gray line, the network is overconfident."
    )
    return draw_reliability_curve(table, context.project), sentence


RELIABILITY_SIZE = (4.6, 3.8)  # inches
MIN_BIN_SHARE = 0.001  # of a split's pixels; bins with fewer are noise


def draw_reliability_curve(table: pd.DataFrame, project: Project) -> Markup:
    """Draw accuracy over confidence from the rows of `calibration.csv`: validation solid, training dashed."""
    with svg.use_style(project):
        figure = Figure(RELIABILITY_SIZE, layout="constrained")
        axes = figure.add_subplot()
        drawn = []
        for split, style, marker in (("train", "--", ""), ("validation", "-", "o")):
            rows = table[table["split"] == split]
            rows = rows[rows["pixels"] > MIN_BIN_SHARE * rows["pixels"].sum()]
            axes.plot(
                rows["confidence"], rows["accuracy"], color=svg.INK, linestyle=style, marker=marker, markersize=4.5
            )
            drawn.append(rows)
        low = min(1 / 3, *(float(rows[["confidence", "accuracy"]].min().min()) for rows in drawn))
        axes.plot([0, 1], [0, 1], color=svg.QUIET, linewidth=1)
        axes.annotate(
            "perfect calibration", (low, low), (6, -3), textcoords="offset points", color=svg.QUIET, fontsize=10
        )
        axes.set_xlim(low - 0.02, 1.01)
        axes.set_ylim(low - 0.02, 1.01)
        axes.set_xlabel("confidence", loc="right")
        axes.set_title("accuracy", loc="left", fontsize=11)
        return svg.render_svg(figure, "reliability")
