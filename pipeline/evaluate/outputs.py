"""Writes an evaluation's folder: scores, a row an image, a row a bin of confidence, and masks of a few samples."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from pipeline import runs
from pipeline.analysis import scores
from pipeline.analysis.calibration import BINS, ReliabilityBins
from pipeline.atomic_io import as_json
from pipeline.evaluate.feature_maps import FeatureMaps
from pipeline.evaluate.overview import draw_overview
from pipeline.evaluate.predict_splits import SplitPrediction
from pipeline.inference.prediction import Prediction
from pipeline.runs import Evaluation, SegmentationClass

WORST = 3  # images that the report shows


def write_evaluation(
    folder: Path,
    evaluation: Evaluation,
    seen: dict[str, SplitPrediction],
    reliability: dict[str, ReliabilityBins],
    maps: dict[str, FeatureMaps],
    classes: tuple[SegmentationClass, ...],
    examples: int,
) -> None:
    """Write all files of an evaluation into an empty folder; of a run without a model they hold no rows."""
    (folder / runs.METRICS).write_text(as_json(evaluation), encoding="utf-8")
    with (folder / runs.PER_IMAGE).open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        columns = (f"{column}_{item.name}" for column in ("iou", "loss") for item in classes)
        writer.writerow([*runs.PER_IMAGE_COLUMNS, *columns])
        for name, one in seen.items():
            writer.writerows(_rows(name, one, classes))
    with (folder / runs.CALIBRATION).open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(runs.CALIBRATION_COLUMNS)
        for name, bins in reliability.items():
            writer.writerows(_bins(name, bins))
    if maps:
        # np.savez stamps no time into the archive: equal arrays give equal bytes.
        with (folder / runs.EXPLAIN).open("wb") as archive:
            np.savez_compressed(archive, allow_pickle=False, **maps)
    (folder / runs.EXAMPLES).mkdir()
    if seen:
        draw_overview(seen, classes).save(folder / runs.OVERVIEW, optimize=True)
        validation, showcase = seen["validation"], seen[runs.SHOWCASE]
        _write_masks(folder / runs.EXAMPLES, validation, _chosen(validation.prediction, examples))
        _write_masks(folder / runs.EXAMPLES, showcase, np.arange(len(showcase.split)))


def _chosen(prediction: Prediction, examples: int) -> npt.NDArray[np.int64]:
    """Choose images spread over validation, the same for every run, and this run's best, median and worst by loss.

    Images without evaluated pixels have no loss and are not chosen.
    """
    evaluated = np.flatnonzero(prediction.pixels)
    spread = evaluated[np.linspace(0, len(evaluated) - 1, min(examples, len(evaluated))).astype(np.int64)]
    order = evaluated[np.argsort(prediction.losses[evaluated], kind="stable")]
    return np.unique(np.concatenate([spread, order[[0, len(order) // 2]], order[-WORST:]]))


def _rows(name: str, seen: SplitPrediction, classes: tuple[SegmentationClass, ...]) -> list[list[str | float]]:
    prediction, confidence = seen.prediction, seen.confidence
    with np.errstate(invalid="ignore"):  # 0 / 0 where an image has none of a class
        class_losses = confidence.class_losses / confidence.class_pixels
    columns = [
        prediction.losses,
        scores.accuracy(prediction.confusion),
        scores.mean_iou(prediction.confusion),
        scores.foreground_iou(prediction.confusion, np.array([item.foreground for item in classes])),
        *scores.iou_by_class(prediction.confusion).T,
        *class_losses.T,
    ]
    rows = zip(seen.split.ids, *(column.tolist() for column in columns), strict=True)
    return [[sample, name, *_or_empty(values)] for sample, *values in rows]


def _bins(name: str, bins: ReliabilityBins) -> list[list[str | float]]:
    edges = (np.arange(BINS + 1) / BINS).round(6)
    columns = (edges[:-1], edges[1:], bins.pixels.astype(np.int64), bins.confidence, bins.accuracy)
    return [[name, *_or_empty(values)] for values in zip(*(column.tolist() for column in columns), strict=True)]


def _or_empty(values: Iterable[float]) -> list[str | float]:
    return ["" if math.isnan(value) else value for value in values]


def _write_masks(folder: Path, seen: SplitPrediction, chosen: npt.NDArray[np.int64]) -> None:
    for place in chosen:
        mask = Image.fromarray(seen.prediction.masks[place])
        mask.save(folder / f"{seen.split.ids[place]}.png", optimize=True)
