"""Metrics of the leading run by class, with their intervals, and its confusion matrix."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from markupsafe import Markup

from pipeline.analysis.metrics import DISTANCES, OVERALL
from pipeline.artifacts.scores import DistanceScale
from pipeline.number_format import format_number
from pipeline.report.figures.confusion_map import draw_confusion_map
from pipeline.report.formatting import SPLIT_NAMES
from pipeline.report.notices import NothingToShowError
from pipeline.report.page_context import PageContext
from pipeline.wording import join_words, pluralize

Figure = tuple[str, str]  # a number and its interval, which may be empty


@dataclass(frozen=True)
class MetricTable:
    """Metrics on a split: one row per class, and the metrics over all classes."""

    title: str
    rows: dict[str, tuple[Figure, ...]]  # by class, the worst one first; one figure per heading in COLUMNS
    keys: dict[str, str]  # by class, JSON list of sort keys
    overall: tuple[tuple[str, Figure], ...]  # name and figure
    notes: tuple[str, ...]  # sentences on undefined values and missing intervals


@dataclass(frozen=True)
class ConfusionMatrix:
    """Shares of the pixels of each true class by predicted class."""

    names: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]  # percentages as text, by true class; empty if they are below 0.05%
    shades: tuple[tuple[str, ...], ...]  # the same shares for the style sheet, such as 37%
    largest: tuple[tuple[str, str, str, str], ...]  # true and predicted class, share and number of pixels
    map: Markup | None  # heat map in place of the table, if there are too many classes for it


@dataclass(frozen=True)
class Metrics:
    """Metrics of one run."""

    run: str
    headings: tuple[tuple[str, str], ...]  # abbreviation and explanation
    order: str  # heading of the metric that orders the classes
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
BY_CLASS = {"mean_iou": "iou", "foreground_iou": "iou", "object_iou": "iou"}  # metric by class, by ranked metric
MAX_CLASSES = 20  # of a confusion matrix that is shown as a table
MAX_CONFUSIONS = 5
MAX_LISTED_CONFUSIONS = 20  # with a heat map
MIN_CONFUSION = 0.01  # share of a class's pixels; rarer confusions are not listed


def build_metrics(context: PageContext) -> Metrics:
    """Build the metrics of the leading run on validation and, if it is the grid's best run, on test.

    Raises:
        PipelineError: No run on the page has metrics, or a file is missing or broken.
    """
    run = context.leading_run
    table = context.project.comparison.metrics
    table = table[table["run"] == run]
    if run is None or table.empty:
        raise NothingToShowError("Only the best run of each variant has these metrics, and it is not on this page.")
    names, scale = context.dataset.class_names, context.project.evaluation(run).metrics.distances
    summary, digits = context.summary, scale.digits if scale else 1
    where = {"validation": f" of {summary.describe_folds(summary.get_run(run))}"} if summary.folds else {}
    ranked = summary.rank_by
    headings = _describe_columns(scale)
    places = {metric: place for place, (metric, _, _) in enumerate(COLUMNS)}
    metric = BY_CLASS.get(ranked, ranked) if BY_CLASS.get(ranked, ranked) in places else "dice"
    splits = dict(iter(table.groupby("split", sort=False)))
    ordered = _order_classes(next(iter(splits.values())), metric, names)
    tables = tuple(
        _build_table(f"On the {SPLIT_NAMES[str(split)]} images{where.get(str(split), '')}", rows, ordered, digits)
        for split, rows in splits.items()
    )
    return Metrics(
        run=context.name_run(run),
        headings=headings,
        order=headings[places[metric]][0],
        tables=tables,
        notes=tuple(_describe_scale(scale)) if scale else (),
        confusion=_build_confusion(context, context.summary.list_fold_runs(context.summary.get_run(run)), names),
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


def _order_classes(table: pd.DataFrame, metric: str, class_names: list[str]) -> list[str]:
    """Order the classes by a metric, the worst one first; classes for which it is undefined come last."""
    rows = table[table["metric"] == metric]
    values = dict(zip(rows["class_name"], rows["value"].astype(float), strict=True))
    sign = -1 if metric in DISTANCES else 1
    return sorted(class_names, key=lambda name: (math.isnan(values[name]), sign * values[name]))


def _build_table(title: str, table: pd.DataFrame, class_names: list[str], distance_digits: int) -> MetricTable:
    by_key = {(row.metric, row.class_name): row for row in table.itertuples()}
    digits = {metric: distance_digits if metric in DISTANCES else 3 for metric, _, _ in COLUMNS}
    rows = {name: tuple(_format(by_key[key, name], digits[key]) for key in digits) for name in class_names}
    keys = {name: _list_keys(name, [by_key[metric, name] for metric, _, _ in COLUMNS]) for name in class_names}
    overall = tuple((title, _format(by_key[metric, OVERALL])) for metric, title in OVERALL_NAMES.items())
    return MetricTable(title, rows, keys, overall, _list_notes(table))


def _list_keys(name: str, rows: Sequence[object]) -> str:
    values = [float(getattr(row, "value")) for row in rows]  # noqa: B009 - rows of itertuples have no type
    return json.dumps([name, *(None if math.isnan(value) else value for value in values)], allow_nan=False)


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
            f"HD95 and ASD are undefined where only one of the masks has the class, or ignored pixels hide an outline: "
            f"{join_words(listed, 5)}. These images are excluded from the means, which makes them optimistic; NSD "
            f"counts those where only one of the masks has the class as 0."
        )
    if table["low"].isna().all():
        notes.append("There are no intervals, because the images are from fewer than ten groups.")
    return tuple(notes)


def _build_confusion(context: PageContext, runs: Sequence[str], names: list[str]) -> ConfusionMatrix:
    """Build the confusion matrix over the validation images of one run per fold."""
    table = pd.concat([context.project.evaluation(run).read_confusion() for run in runs])
    table = table[table["split"] == "validation"]
    counts = table.pivot_table(index="actual", columns="predicted", values="pixels", aggfunc="sum", fill_value=0)
    counts = counts.reindex(index=names, columns=names, fill_value=0)
    shares = counts.div(counts.sum(axis=1), axis=0)  # NaN for a class without pixels
    has_map = len(names) > MAX_CLASSES
    confusions = [
        (float(share), int(pixels), names[actual], names[predicted])
        for (actual, predicted), share, pixels in zip(
            np.ndindex(shares.shape), shares.to_numpy().flat, counts.to_numpy().flat, strict=True
        )
        if actual != predicted and share >= MIN_CONFUSION
    ]
    confusions = sorted(confusions, reverse=True)[: MAX_LISTED_CONFUSIONS if has_map else MAX_CONFUSIONS]
    return ConfusionMatrix(
        names=tuple(names),
        rows=tuple(
            tuple("–" if math.isnan(share) else f"{share:.1%}" if share >= 0.0005 else "" for share in row)
            for row in shares.to_numpy()
        ),
        shades=tuple(tuple(f"{share:.0%}" for share in row) for row in shares.fillna(0).to_numpy()),
        largest=tuple(
            (actual, predicted, f"{share:.1%}", f"{pixels:,}") for share, pixels, actual, predicted in confusions
        ),
        map=draw_confusion_map(shares.to_numpy(np.float64), context.project) if has_map else None,
    )
