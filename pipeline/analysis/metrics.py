"""Metrics of a run on a set of images, by class: overlap over all pixels, overlap by image, and outlines by image.

docs/reference/metrics.md lists the formulas, and when to use which. *Pooled* metrics sum the pixels of all images
first, so large objects and images with many pixels of the class dominate. Metrics *by image* are means over images, so
every image counts the same (Maier-Hein et al., Metrics reloaded, Nature Methods 21, 2024).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np
import numpy.typing as npt

from pipeline.analysis.clustered_mean import Floats, Integers
from pipeline.analysis.score_intervals import Interval, compute_pseudo_values, estimate_mean_intervals
from pipeline.artifacts.comparison import MetricRow
from pipeline.artifacts.evaluation_folder import SURFACE_SCORES, ClassPixels
from pipeline.artifacts.prepared_data import SegmentationClass

UNIT: Interval = (0.0, 1.0)
DISTANCES = ("hd95", "asd")  # lower is better, and without an upper limit
WORST_SHARE = 0.1
OVERALL = ""  # the class of metrics over all classes


@dataclass(frozen=True)
class ImageMetrics:
    """What a run's metrics on a set of N images with C classes depend on."""

    pixels: ClassPixels
    surfaces: Floats  # N x C x 4, in the order of SURFACE_SCORES; NaN if undefined
    groups: tuple[Integers, ...] = ()  # one or two arrays of N labels, as in `GroupedLosses`; empty for no intervals

    def select_evaluated(self) -> ImageMetrics:
        """Select the images with evaluated pixels. The others have no metrics, so no interval may count them."""
        is_evaluated = self.pixels.truth.any(axis=1)
        pixels = ClassPixels(*(counts[is_evaluated] for counts in vars(self.pixels).values()))
        return ImageMetrics(pixels, self.surfaces[is_evaluated], tuple(labels[is_evaluated] for labels in self.groups))


def tabulate_metrics(images: ImageMetrics, class_names: Sequence[str]) -> list[MetricRow]:
    """Compute all metrics with their 95% intervals, one row per metric and class."""
    images = images.select_evaluated()
    by_image = {
        "image_iou": _divide(*_intersect(images.pixels)),
        "image_dice": _compute_image_dice(images.pixels),
        **{name: images.surfaces[:, :, place] for place, name in enumerate(SURFACE_SCORES)},
    }
    names, owners, values = _compute_pooled(images, class_names)
    columns = [_compute_pooled_pseudo_values(images), *by_image.values()] if images.groups else []
    limits = np.array([UNIT] * len(names) + [_get_limits(name) for name in by_image for _ in class_names])
    intervals = (
        estimate_mean_intervals(np.concatenate(columns, axis=1), images.groups, limits)
        if images.groups
        else [None] * len(limits)
    )
    rows = [
        MetricRow.create(name, owner, value, None if np.isnan(value) else interval, len(images.pixels), 0)
        for name, owner, value, interval in zip(names, owners, values, intervals[: len(names)], strict=True)
    ]
    for place, (name, scores) in enumerate(by_image.items()):
        start = len(names) + place * len(class_names)
        rows += _average_by_image(name, scores, images, class_names, intervals[start : start + len(class_names)])
    return rows


def _get_limits(name: str) -> Interval:
    return (0.0, np.inf) if name in DISTANCES else UNIT


def select_foreground(classes: Sequence[SegmentationClass]) -> set[str]:
    """Return the names of the foreground classes, or of all classes if none or all are foreground."""
    foreground = {item.name for item in classes if item.foreground}
    return foreground if 0 < len(foreground) < len(classes) else {item.name for item in classes}


def average_over_foreground(rows: Sequence[MetricRow], classes: Sequence[SegmentationClass]) -> dict[str, float | None]:
    """Average the metrics by class over the classes of `select_foreground`.

    Returns:
        The mean by metric, and the metrics over all classes unchanged. Classes in neither ground truth nor prediction
        are left out; if all are, the mean is None. It is also None if a class occurs, but its metric is undefined in
        every image: without that class, the mean would be too good.
    """
    shown = {OVERALL, *select_foreground(classes)}
    values: dict[str, list[float]] = {}
    incomplete = set()
    for row in rows:
        own = values.setdefault(row.metric, [])
        if row.class_name in shown and row.value is not None:
            own.append(row.value)
        elif row.class_name in shown and row.undefined:
            incomplete.add(row.metric)
    return {name: fmean(own) if own and name not in incomplete else None for name, own in values.items()}


def compute_pooled_scores(pixels: Floats) -> dict[str, Floats]:
    """Compute the pooled metrics from sums over images.

    Args:
        pixels: R x 3 x C: number of pixels of each class in the ground truth and in the prediction, and of correct
            pixels.

    Returns:
        By metric, R x C values, or R x 1 for metrics over all classes; NaN if undefined.
    """
    truth, predicted, correct = pixels[:, 0], pixels[:, 1], pixels[:, 2]
    present = truth > 0
    iou = _divide(correct, truth + predicted - correct)
    dice = _divide(2 * correct, truth + predicted)
    recall = _divide(correct, truth)
    return {
        "accuracy": _divide(correct.sum(axis=1), truth.sum(axis=1))[:, None],
        "balanced_accuracy": _average(recall, present),
        "mean_iou": _average(iou, present),
        "mean_dice": _average(dice, present),
        "iou": np.where(present, iou, np.nan),
        "dice": np.where(present, dice, np.nan),
        "precision": _divide(correct, predicted),
        "recall": recall,
    }


def _compute_pooled(images: ImageMetrics, class_names: Sequence[str]) -> tuple[list[str], list[str], Floats]:
    """Compute the pooled metrics: their names, their classes (or `OVERALL`) and their values."""
    found = compute_pooled_scores(_count_pixels(images).sum(axis=0)[None])
    names = [name for name, scores in found.items() for _ in range(scores.shape[1])]
    owners = [owner for scores in found.values() for owner in ([OVERALL] if scores.shape[1] == 1 else class_names)]
    return names, owners, np.concatenate([*found.values()], axis=1)[0]


def _compute_pooled_pseudo_values(images: ImageMetrics) -> Floats:
    """Compute the pseudo-values of the pooled metrics: N x M."""
    counts = _count_pixels(images)

    def score(sums: Floats) -> Floats:
        return np.concatenate([*compute_pooled_scores(sums.reshape(-1, *counts.shape[1:])).values()], axis=1)

    return compute_pseudo_values(counts.reshape(len(counts), math.prod(counts.shape[1:])), score)


def _count_pixels(images: ImageMetrics) -> Floats:
    """Return the numbers of true, predicted and correct pixels: N x 3 x C."""
    return np.stack([images.pixels.truth, images.pixels.predicted, images.pixels.correct], axis=1).astype(np.float64)


def _average_by_image(
    name: str, values: Floats, images: ImageMetrics, class_names: Sequence[str], intervals: Sequence[Interval | None]
) -> list[MetricRow]:
    """Compute mean, median and worst decile of a metric (N x C) over the images in which it is defined."""
    rows = []
    present = (images.pixels.truth + images.pixels.predicted) > 0
    worst = 1 - WORST_SHARE if name in DISTANCES else WORST_SHARE
    for index, (owner, interval) in enumerate(zip(class_names, intervals, strict=True)):
        column = values[:, index]
        defined = column[~np.isnan(column)]
        undefined = int((present[:, index] & np.isnan(column)).sum())
        mean, median, decile = (
            (float(defined.mean()), float(np.median(defined)), float(np.quantile(defined, worst)))
            if len(defined)
            else (np.nan,) * 3
        )
        rows.append(MetricRow.create(name, owner, mean, interval, len(defined), undefined, median, decile))
    return rows


def _intersect(pixels: ClassPixels) -> tuple[Floats, Floats]:
    correct = pixels.correct.astype(np.float64)
    return correct, pixels.truth + pixels.predicted - correct


def _compute_image_dice(pixels: ClassPixels) -> Floats:
    return _divide(2 * pixels.correct.astype(np.float64), (pixels.truth + pixels.predicted).astype(np.float64))


def _average(values: Floats, present: npt.NDArray[np.bool_]) -> Floats:
    """Average over the classes in the ground truth: R x C to R x 1."""
    return _divide(np.where(present, values, 0).sum(axis=1), present.sum(axis=1).astype(np.float64))[:, None]


def _divide(part: Floats, whole: Floats) -> Floats:
    return np.asarray(part / np.where(whole == 0, np.nan, whole), dtype=np.float64)
