"""Writes an evaluation's folder: scores, a row an image, and masks of a few samples."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from pipeline import runs
from pipeline.analysis import scores
from pipeline.data.arrays import Split
from pipeline.evaluate.pictures import overview
from pipeline.files import as_json
from pipeline.models.inference import Prediction
from pipeline.runs import Evaluation, SegmentationClass


def write_evaluation(
    folder: Path,
    evaluation: Evaluation,
    splits: dict[str, Split],
    predictions: dict[str, Prediction],
    classes: tuple[SegmentationClass, ...],
    examples: int,
) -> None:
    """Write `metrics.json`, `per_image.csv`, `examples/` and `overview.png` into an empty folder."""
    (folder / runs.METRICS).write_text(as_json(evaluation), encoding="utf-8")
    with (folder / runs.PER_IMAGE).open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*runs.PER_IMAGE_COLUMNS, *(f"iou_{item.name}" for item in classes)])
        for name, split in splits.items():
            writer.writerows(_rows(name, split, predictions[name], classes))
    (folder / runs.EXAMPLES).mkdir()
    if splits:
        overview(splits, predictions, classes).save(folder / runs.OVERVIEW, optimize=True)
        chosen = _chosen(predictions["validation"], examples)
        _write_masks(folder / runs.EXAMPLES, splits["validation"], predictions["validation"], chosen)
        everything = np.arange(len(splits[runs.SHOWCASE]))
        _write_masks(folder / runs.EXAMPLES, splits[runs.SHOWCASE], predictions[runs.SHOWCASE], everything)


def _chosen(prediction: Prediction, examples: int) -> npt.NDArray[np.int64]:
    """Images spread over validation, the same for every run, and this run's best, median and worst by loss."""
    spread = np.linspace(0, len(prediction.losses) - 1, min(examples, len(prediction.losses))).astype(np.int64)
    order = np.argsort(prediction.losses, kind="stable")
    return np.unique(np.concatenate([spread, order[[0, len(order) // 2, -1]]]))


def _rows(
    name: str, split: Split, prediction: Prediction, classes: tuple[SegmentationClass, ...]
) -> list[list[str | float]]:
    columns = [
        prediction.losses,
        scores.accuracy(prediction.confusion),
        scores.mean_iou(prediction.confusion),
        scores.foreground_iou(prediction.confusion, np.array([item.foreground for item in classes])),
        *scores.iou_by_class(prediction.confusion).T,
    ]
    rows = zip(split.ids, *(column.tolist() for column in columns), strict=True)
    return [[sample, name, *("" if math.isnan(value) else value for value in values)] for sample, *values in rows]


def _write_masks(folder: Path, split: Split, prediction: Prediction, chosen: npt.NDArray[np.int64]) -> None:
    for place in chosen:
        Image.fromarray(prediction.masks[place]).save(folder / f"{split.ids[place]}.png", optimize=True)
