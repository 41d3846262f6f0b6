"""Build the rows of the ensemble's record and tables from its predictions."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from pipeline.analysis.ensemble_scores import ImageScores, compare_with_members
from pipeline.analysis.scores import compute_accuracy
from pipeline.analysis.uncertainty import COVERAGES, correlate_ranks
from pipeline.artifacts.ensemble_folder import EnsembleExample, EnsembleScore, UnscaledScores
from pipeline.artifacts.folder import drop_nan
from pipeline.artifacts.prepared_data import SegmentationClass
from pipeline.ensemble.collect_predictions import NetworkPredictions, SplitPredictions


def list_scores(
    split: str,
    found: SplitPredictions,
    groups: tuple[npt.NDArray[np.int64], ...],
    classes: Sequence[SegmentationClass],
) -> Iterator[EnsembleScore]:
    """Yield the scores of the ensemble on a split, beside those of its members.

    Args:
        split: The split.
        found: Predictions for its images.
        groups: As in `GroupedLosses`.
        classes: The classes.
    """
    images = [ImageScores(one.prediction.losses, one.prediction.confusion) for one in found.networks]
    yield from compare_with_members(split, images, groups, classes)
    # These are not smooth functions of sums over images, so pseudo-values cannot give their intervals.
    others: dict[str, Callable[[NetworkPredictions], float]] = {
        "confidence": lambda one: one.bins.mean_confidence if one.bins.pixels.any() else math.nan,
        "calibration_error": lambda one: one.bins.expected_calibration_error if one.bins.pixels.any() else math.nan,
        "entropy": lambda one: _average(one.entropy, one),
        "risk_coverage_area": lambda one: one.errors.compute_risk_coverage_area(),
        "error_auroc": lambda one: one.errors.compute_auroc(),
        "loss_correlation": lambda one: correlate_ranks(one.entropy, one.prediction.losses),
    }
    for name, compute in others.items():
        own, *members = map(compute, found.networks)
        yield EnsembleScore.create(split, name, "", own, members)
    yield EnsembleScore.create(split, "disagreement", "", _average(found.disagreement, found.ensemble), ())


def compute_unscaled_scores(found: SplitPredictions) -> UnscaledScores:
    """Compute the scores of the ensemble without its temperature."""
    stats, bins = found.unscaled, found.unscaled.sum_bins()
    if not bins.pixels.any():
        return UnscaledScores(None, None, None)
    loss = float(stats.class_losses.sum() / stats.class_pixels.sum())
    return UnscaledScores(loss, bins.mean_confidence, bins.expected_calibration_error)


def list_image_rows(split: str, ids: Sequence[str], found: SplitPredictions) -> Iterator[tuple[str | float, ...]]:
    """Yield the rows of `images.csv` for a split."""
    columns = (
        found.ensemble.prediction.losses,
        np.mean([member.prediction.losses for member in found.members], axis=0),
        compute_accuracy(found.ensemble.prediction.confusion),
        found.ensemble.entropy,
        found.disagreement,
    )
    for sample, *values in zip(ids, *(column.tolist() for column in columns), strict=True):
        yield sample, split, *map(drop_nan, values)


def list_curve_rows(split: str, found: SplitPredictions) -> Iterator[tuple[str | float, ...]]:
    """Yield the rows of `risk_coverage.csv` for a split."""
    for coverage, rate in zip(COVERAGES.tolist(), found.ensemble.errors.compute_error_rates().tolist(), strict=True):
        yield split, coverage, drop_nan(rate)


def select_examples(ids: Sequence[str], found: SplitPredictions, count: int) -> list[tuple[int, EnsembleExample]]:
    """Select images evenly between the most uncertain one and the least uncertain one by mean entropy.

    Args:
        ids: The ids of the images.
        found: Predictions for the images.
        count: Maximum number of images. Images without evaluated pixels are not selected.

    Returns:
        The index of each image in the split, and its record, with the most uncertain image first.
    """
    entropy, disagreement = found.ensemble.entropy, found.disagreement
    order = np.argsort(-entropy, kind="stable")[: np.isfinite(entropy).sum()]  # NaN is last
    chosen = order[np.linspace(0, len(order) - 1, min(count, len(order))).astype(np.int64)]
    return [
        (index, EnsembleExample(ids[index], float(entropy[index]), float(disagreement[index])))
        for index in chosen.tolist()
    ]


def _average(values: npt.NDArray[np.float64], one: NetworkPredictions) -> float:
    """Average over the evaluated pixels of all images; NaN without any."""
    pixels = one.prediction.pixels
    return float((np.nan_to_num(values) * pixels).sum() / pixels.sum()) if pixels.any() else math.nan
