"""Metrics of the leading run by class, with their intervals, and its confusion matrix."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd

from pipeline.analysis.metrics import LOWER_IS_BETTER, OVERALL
from pipeline.artifacts.scores import DistanceScale
from pipeline.report.context import ReportContext
from pipeline.report.formatting import SPLIT_NAMES, format_number, format_percent, pluralize
from pipeline.report.run_selection import RunSelection, find_leading_run
from pipeline.report.view_models import NothingToShowError
from pipeline.wording import join_words

Figure = tuple[str, str]  # a number and its interval, which may be empty


@dataclass(frozen=True)
class MetricTable:
    """Metrics on a split: one row per class, and the metrics over all classes."""

    title: str
    rows: dict[str, tuple[Figure, ...]]  # by class, one figure per heading in COLUMNS
    overall: tuple[tuple[str, Figure], ...]  # name and figure
    notes: tuple[str, ...]  # sentences on undefined values and missing intervals


@dataclass(frozen=True)
class ConfusionMatrix:
    """Shares of the pixels of each true class by predicted class."""

    names: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]  # percentages as text, by true class; empty if they are below 0.05 %
    shades: tuple[tuple[str, ...], ...]  # the same shares for the style sheet, such as 37%
    largest: tuple[str, ...]  # phrases on the most frequent confusions
    is_legible: bool  # whether the table has few enough columns to be shown


@dataclass(frozen=True)
class Metrics:
    """Metrics of one run."""

    run: str
    headings: tuple[tuple[str, str], ...]  # abbreviation and explanation
    tables: tuple[MetricTable, ...]
    notes: tuple[str, ...]  # sentences on the scale of distances
    confusion: ConfusionMatrix | None


# Metric, abbreviation and explanation, with the unit of distances and a phrase for the tolerance
COLUMNS = (
    ("dice", "Dice", "Dice coefficient, or F1 score, over all pixels"),
    ("iou", "IoU", "intersection over union, over all pixels"),
    ("precision", "Precision", "share of the predicted pixels that are correct"),
    ("recall", "Recall", "share of the true pixels that are found"),
    ("image_dice", "Dice by image", "mean over the images"),
    ("boundary_iou", "Boundary IoU", "IoU of the pixels near the outline, mean over the images"),
    (
        "nsd",
        "NSD",
        "normalized surface Dice: share of the outline within the tolerance{tolerance}, mean over the images",
    ),
    ("hd95", "HD95 ({unit})", "95th percentile of the distance between the outlines, mean over the images"),
    ("asd", "ASD ({unit})", "mean distance between the outlines, mean over the images"),
)
OVERALL_NAMES = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy (mean recall)",
    "mean_iou": "mean IoU",
    "mean_dice": "mean Dice",
}
MAX_CLASSES = 20  # of a confusion matrix that is shown as a table
MAX_CONFUSIONS = 5
MIN_CONFUSION = 0.01  # share of a class's pixels; rarer confusions are not listed


def build_metrics(context: ReportContext, selection: RunSelection) -> Metrics:
    """Build the metrics of the leading run on validation and, if it is the grid's best run, on test.

    Raises:
        PipelineError: No run on the page has metrics, or a file is missing or broken.
    """
    run = find_leading_run(context.summary, selection)
    table = context.project.comparison.metrics
    table = table[table["run"] == run]
    if run is None or table.empty:
        raise NothingToShowError("Only the best run of each variant has these metrics, and it is not on this page.")
    names, scale = context.dataset.class_names, context.project.evaluation(run).metrics.distances
    folds, digits = context.dataset.folds, scale.digits if scale else 1
    where = {"validation": " of all folds"} if folds else {}
    tables = tuple(
        _build_table(f"On the {SPLIT_NAMES[str(split)]} images{where.get(str(split), '')}", rows, names, digits)
        for split, rows in table.groupby("split", sort=False)
    )
    row = context.summary.get_run(run)
    return Metrics(
        run=run if folds is None else f"{row.variant} at {row.learning_rate}",
        headings=_describe_columns(scale),
        tables=tables,
        notes=tuple(_describe_scale(scale)) if scale else (),
        confusion=_build_confusion(context, run, names),
    )


def _describe_columns(scale: DistanceScale | None) -> tuple[tuple[str, str], ...]:
    """Return the heading of each column and its explanation; evaluations of earlier versions have no scale."""
    unit = scale.unit if scale else "px"
    tolerance = f" of {scale.tolerance:g} {unit}" if scale else ""
    return tuple(
        (heading.format(unit=unit), explanation.format(tolerance=tolerance)) for _, heading, explanation in COLUMNS
    )


def _describe_scale(scale: DistanceScale) -> Iterator[str]:
    low, high = f"{scale.smallest_pixel:.3g}", f"{scale.largest_pixel:.3g}"
    if scale.unit == "px":
        yield "Distances are in px of the prepared images."
    else:
        yield f"A pixel of the prepared images measures {low if low == high else f'{low} to {high}'} {scale.unit}."
    if scale.tolerance < scale.smallest_pixel:
        yield "The tolerance of NSD is smaller than a pixel, so outlines count as equal only at the same pixels."
    elif scale.tolerance < scale.largest_pixel:
        yield (
            "The tolerance of NSD is smaller than the longest side of a pixel, so a shift by one pixel can count as an "
            "error."
        )


def _build_table(title: str, table: pd.DataFrame, class_names: list[str], distance_digits: int) -> MetricTable:
    by_key = {(row.metric, row.class_name): row for row in table.itertuples()}
    digits = {metric: distance_digits if metric in LOWER_IS_BETTER else 3 for metric, _, _ in COLUMNS}
    rows = {name: tuple(_format(by_key[key, name], digits[key]) for key in digits) for name in class_names}
    overall = tuple((title, _format(by_key[metric, OVERALL])) for metric, title in OVERALL_NAMES.items())
    return MetricTable(title, rows, overall, _list_notes(table))


def _format(row: object, digits: int = 3) -> Figure:
    """Format a value and its interval."""
    value, low, high = (float(getattr(row, name)) for name in ("value", "low", "high"))
    interval = "" if math.isnan(low) else f"{format_number(low, digits)} to {format_number(high, digits)}"
    return format_number(value, digits), interval


def _list_notes(table: pd.DataFrame) -> tuple[str, ...]:
    notes = []
    undefined = table[(table["metric"] == "hd95") & (table["undefined"] > 0)]
    if len(undefined):
        counts = zip(undefined["class_name"], undefined["undefined"].astype(int), strict=True)
        listed = [f"{name} in {pluralize(count, 'image')}" for name, count in counts]
        notes.append(
            f"HD95 and ASD are undefined where only one of the masks has the class: {join_words(listed, 5)}. These "
            "images are left out of the means, which are too good as a consequence; NSD counts them as 0."
        )
    if table["low"].isna().all():
        notes.append("There are no intervals, because the images are from fewer than ten groups.")
    return tuple(notes)


def _build_confusion(context: ReportContext, run: str, names: list[str]) -> ConfusionMatrix:
    table = context.project.evaluation(run).read_confusion()
    table = table[table["split"] == "validation"]
    counts = table.pivot_table(index="actual", columns="predicted", values="pixels", aggfunc="sum", fill_value=0)
    counts = counts.reindex(index=names, columns=names, fill_value=0)
    shares = counts.div(counts.sum(axis=1), axis=0)  # NaN for a class without pixels
    confusions = [
        (float(share), f"{actual} as {predicted} ({format_percent(float(share))})")
        for actual, row in shares.iterrows()
        for predicted, share in row.items()
        if actual != predicted and share >= MIN_CONFUSION
    ]
    return ConfusionMatrix(
        names=tuple(names),
        rows=tuple(
            tuple("–" if math.isnan(share) else f"{share:.1%}" if share >= 0.0005 else "" for share in row)
            for row in shares.to_numpy()
        ),
        shades=tuple(tuple(f"{share:.0%}" for share in row) for row in shares.fillna(0).to_numpy()),
        largest=tuple(text for _, text in sorted(confusions, reverse=True)[:MAX_CONFUSIONS]),
        is_legible=len(names) <= MAX_CLASSES,
    )
