"""Metrics of a run on a set of images, by class: overlap over all pixels, overlap by image, and outlines by image.

docs/reference/metrics.md lists the formulas, and when to use which. *Pooled* metrics sum the pixels of all images
first, so large objects and images with many pixels of the class dominate. Metrics *by image* are means over images, so
every image counts the same (Maier-Hein et al., Metrics reloaded, Nature Methods 21, 2024).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np
import numpy.typing as npt

from pipeline.analysis.gap_interval import Integers
from pipeline.analysis.score_intervals import Interval, compute_pseudo_values, estimate_mean_interval
from pipeline.artifacts.comparison import MetricRow
from pipeline.artifacts.evaluation_folder import SURFACE_SCORES, ClassPixels
from pipeline.artifacts.prepared_data import SegmentationClass

Floats = npt.NDArray[np.float64]

UNIT: Interval = (0.0, 1.0)
LOWER_IS_BETTER = ("hd95", "asd")
WORST_SHARE = 0.1
OVERALL = ""  # the class of metrics over all classes


@dataclass(frozen=True)
class ImageMetrics:
    """What a run's metrics on a set of N images with C classes depend on."""

    pixels: ClassPixels
    surfaces: Floats  # N x C x 4, in the order of SURFACE_SCORES; NaN if undefined
    groups: tuple[Integers, ...] = ()  # one or two arrays of N labels, as in `GroupedLosses`; empty for no intervals


def tabulate_metrics(images: ImageMetrics, class_names: Sequence[str]) -> list[MetricRow]:
    """Compute all metrics with their 95 % intervals, one row per metric and class."""
    rows = [
        *_compute_pooled(images, class_names),
        *_compute_by_image("image_iou", _divide(*_intersect(images.pixels)), images, class_names, UNIT),
        *_compute_by_image("image_dice", _compute_image_dice(images.pixels), images, class_names, UNIT),
    ]
    for place, name in enumerate(SURFACE_SCORES):
        limits = (0.0, np.inf) if name in LOWER_IS_BETTER else UNIT
        rows += _compute_by_image(name, images.surfaces[:, :, place], images, class_names, limits)
    return rows


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


def _compute_pooled(images: ImageMetrics, class_names: Sequence[str]) -> list[MetricRow]:
    counts = np.stack([images.pixels.truth, images.pixels.predicted, images.pixels.correct], axis=1).astype(np.float64)
    num_images, _, num_classes = counts.shape

    def score(sums: Floats) -> Floats:
        return np.concatenate([*compute_pooled_scores(sums.reshape(-1, 3, num_classes)).values()], axis=1)

    flat = counts.reshape(num_images, -1)
    values = score(flat.sum(axis=0)[None])[0]
    pseudo_values = compute_pseudo_values(flat, score)
    rows, place = [], 0
    for name, found in compute_pooled_scores(counts.sum(axis=0)[None]).items():
        for index in range(found.shape[1]):
            own = OVERALL if found.shape[1] == 1 else class_names[index]
            value, pseudo = values[place], pseudo_values[:, place]
            interval = estimate_mean_interval(pseudo, images.groups, UNIT) if not np.isnan(value) else None
            rows.append(MetricRow.create(name, own, value, interval, num_images, 0))
            place += 1
    return rows


def _compute_by_image(
    name: str, values: Floats, images: ImageMetrics, class_names: Sequence[str], limits: Interval
) -> list[MetricRow]:
    """Compute mean, median and worst decile of a metric (N x C) over the images in which it is defined."""
    rows = []
    present = (images.pixels.truth + images.pixels.predicted) > 0
    for index, own in enumerate(class_names):
        column = values[:, index]
        defined = column[~np.isnan(column)]
        undefined = int((present[:, index] & np.isnan(column)).sum())
        interval = estimate_mean_interval(column, images.groups, limits)
        worst = 1 - WORST_SHARE if name in LOWER_IS_BETTER else WORST_SHARE
        mean, median, decile = (
            (float(defined.mean()), float(np.median(defined)), float(np.quantile(defined, worst)))
            if len(defined)
            else (np.nan,) * 3
        )
        rows.append(MetricRow.create(name, own, mean, interval, len(defined), undefined, median, decile))
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
