"""Writes an evaluation's folder: scores, a row an image, a row a bin of confidence, and masks of a few samples."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from pipeline import runs
from pipeline.analysis import scores
from pipeline.analysis.calibration import NUM_BINS, ReliabilityBins
from pipeline.artifacts.evaluation_folder import EvaluationFolder, RunEvaluation
from pipeline.evaluate.explain import Maps
from pipeline.evaluate.pictures import overview
from pipeline.evaluate.seen import Seen
from pipeline.models.inference import Prediction
from pipeline.runs import SegmentationClass

WORST = 3  # images that the report shows


def write_evaluation(
    folder: EvaluationFolder,
    evaluation: RunEvaluation,
    seen: dict[str, Seen],
    reliability: dict[str, ReliabilityBins],
    maps: dict[str, Maps],
    classes: tuple[SegmentationClass, ...],
    examples: int,
) -> None:
    """Write all files of an evaluation into an empty folder; those of a run without a model have no rows."""
    folder.write_metrics(evaluation)
    folder.write_per_image(
        [item.name for item in classes], (row for name, one in seen.items() for row in _rows(name, one, classes))
    )
    folder.write_calibration(row for name, bins in reliability.items() for row in _bins(name, bins))
    if maps:
        folder.write_feature_maps(maps)
    folder.write_examples({})
    if seen:
        folder.write_overview(overview(seen, classes))
        validation, showcase = seen["validation"], seen[runs.SHOWCASE]
        folder.write_examples(_masks(validation, _chosen(validation.prediction, examples)))
        folder.write_examples(_masks(showcase, np.arange(len(showcase.split))))


def _chosen(prediction: Prediction, examples: int) -> npt.NDArray[np.int64]:
    """Choose images spread over validation, the same for every run, and this run's best, median and worst by loss.

    Images without evaluated pixels have no loss and are not chosen.
    """
    evaluated = np.flatnonzero(prediction.pixels)
    spread = evaluated[np.linspace(0, len(evaluated) - 1, min(examples, len(evaluated))).astype(np.int64)]
    order = evaluated[np.argsort(prediction.losses[evaluated], kind="stable")]
    return np.unique(np.concatenate([spread, order[[0, len(order) // 2]], order[-WORST:]]))


def _rows(name: str, seen: Seen, classes: tuple[SegmentationClass, ...]) -> list[list[str | float]]:
    prediction, confidence = seen.prediction, seen.confidence
    with np.errstate(invalid="ignore"):  # 0 / 0 where an image has none of a class
        class_losses = confidence.class_losses / confidence.class_pixels
    columns = [
        prediction.losses,
        scores.compute_accuracy(prediction.confusion),
        scores.compute_mean_iou(prediction.confusion),
        scores.compute_foreground_iou(prediction.confusion, np.array([item.foreground for item in classes])),
        *scores.compute_class_iou(prediction.confusion).T,
        *class_losses.T,
    ]
    rows = zip(seen.split.ids, *(column.tolist() for column in columns), strict=True)
    return [[sample, name, *_or_empty(values)] for sample, *values in rows]


def _bins(name: str, bins: ReliabilityBins) -> list[list[str | float]]:
    edges = (np.arange(NUM_BINS + 1) / NUM_BINS).round(6)
    columns = (edges[:-1], edges[1:], bins.pixels.astype(np.int64), bins.confidence, bins.accuracy)
    return [[name, *_or_empty(values)] for values in zip(*(column.tolist() for column in columns), strict=True)]


def _or_empty(values: Iterable[float]) -> list[str | float]:
    return ["" if math.isnan(value) else value for value in values]


def _masks(seen: Seen, places: npt.NDArray[np.int64]) -> dict[str, npt.NDArray[np.uint8]]:
    return {seen.split.ids[place]: seen.prediction.masks[place] for place in places}
