"""Write an evaluation folder: scores, per-image table, confidence bins, example masks, and an overview image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from pipeline.analysis import scores
from pipeline.analysis.calibration import NUM_BINS, ReliabilityBins
from pipeline.artifacts.evaluation_folder import EvaluationFolder, RunEvaluation
from pipeline.artifacts.folder import drop_nan
from pipeline.artifacts.prepared_data import SHOWCASE, SegmentationClass, Split
from pipeline.imaging import IGNORE
from pipeline.imaging.to_rgb import to_rgb
from pipeline.inference.confidence import ConfidenceStats
from pipeline.inference.prediction import Prediction

MAX_WORST = 3  # maximum number of images with the highest loss to keep as examples
IGNORED_COLOR = (128, 128, 128)
MAX_SIDE = 2048  # px, largest side of an image in the overview


@dataclass(frozen=True)
class SplitPrediction:
    """A split and its prediction."""

    split: Split
    prediction: Prediction
    confidence: ConfidenceStats


def write_evaluation(
    folder: EvaluationFolder,
    evaluation: RunEvaluation,
    splits: Mapping[str, SplitPrediction],
    bins: Mapping[str, ReliabilityBins],
    classes: tuple[SegmentationClass, ...],
    examples: int,
    worst_objects: Sequence[int] = (),
) -> None:
    """Write the files of an evaluation into an empty folder; the tables of a run without weights have no rows.

    `bins` has the confidence bins of training and validation. `examples` is the number of evenly spaced validation
    images whose predicted masks are kept. `worst_objects` are indices of more validation images to keep.
    """
    folder.write_json(folder.METRICS, evaluation)
    folder.write_per_image(
        [item.name for item in classes],
        (row for name, split in splits.items() for row in _list_image_rows(name, split, classes)),
    )
    bin_rows = (row for name, found in bins.items() for row in _list_bin_rows(name, found))
    folder.write_table(folder.CALIBRATION, folder.CALIBRATION_COLUMNS, bin_rows)
    folder.write_examples({})
    if splits:
        _draw_overview(splits, classes).save(folder.path / folder.OVERVIEW)
        validation, showcase = splits["validation"], splits[SHOWCASE]
        chosen = np.union1d(_select_examples(validation.prediction, examples), np.array(worst_objects, np.int64))
        folder.write_examples(_take_masks(validation, chosen))
        folder.write_examples(_take_masks(showcase, np.arange(len(showcase.split))))


def _select_examples(prediction: Prediction, examples: int) -> npt.NDArray[np.int64]:
    """Select evenly spaced images, the same for every run, and this run's best, median and worst images by loss.

    Images without evaluated pixels have no loss and are not selected.
    """
    evaluated = np.flatnonzero(prediction.pixels)
    spread = evaluated[np.linspace(0, len(evaluated) - 1, min(examples, len(evaluated))).astype(np.int64)]
    order = evaluated[np.argsort(prediction.losses[evaluated], kind="stable")]
    return np.unique(np.concatenate([spread, order[[0, len(order) // 2]], order[-MAX_WORST:]]))


def _list_image_rows(
    name: str, split: SplitPrediction, classes: tuple[SegmentationClass, ...]
) -> list[list[str | float]]:
    prediction, confidence = split.prediction, split.confidence
    with np.errstate(invalid="ignore"):  # 0 / 0 for a class that the image does not have
        class_losses = confidence.class_losses / confidence.class_pixels
    columns = [
        prediction.losses,
        scores.compute_accuracy(prediction.confusion),
        scores.compute_mean_iou(prediction.confusion),
        scores.compute_foreground_iou(prediction.confusion, np.array([item.foreground for item in classes])),
        *scores.compute_class_iou(prediction.confusion).T,
        *class_losses.T,
    ]
    rows = zip(split.split.ids, *(column.tolist() for column in columns), strict=True)
    return [[sample, name, *map(drop_nan, values)] for sample, *values in rows]


def _list_bin_rows(name: str, bins: ReliabilityBins) -> list[list[str | float]]:
    edges = (np.arange(NUM_BINS + 1) / NUM_BINS).round(6)
    columns = (edges[:-1], edges[1:], bins.pixels.astype(np.int64), bins.confidence, bins.accuracy)
    return [[name, *map(drop_nan, values)] for values in zip(*(column.tolist() for column in columns), strict=True)]


def _take_masks(split: SplitPrediction, indices: npt.NDArray[np.int64]) -> dict[str, npt.NDArray[np.uint8]]:
    return {split.split.ids[index]: split.prediction.masks[index] for index in indices}


def _draw_overview(splits: Mapping[str, SplitPrediction], classes: tuple[SegmentationClass, ...]) -> Image.Image:
    """Draw image, ground truth and prediction side by side, for the first showcase and the first validation image."""
    palette = np.full((256, 3), IGNORED_COLOR, dtype=np.uint8)
    for index, item in enumerate(classes):
        palette[index] = item.rgb
    rows = []
    for name in (SHOWCASE, "validation"):
        split = splits[name].split
        if len(split):
            truth = split.masks[0]
            predicted = np.where(truth == IGNORE, np.uint8(IGNORE), splits[name].prediction.masks[0])
            drawn = np.concatenate([to_rgb(split.images[0]), palette[truth], palette[predicted]], axis=1)
            rows.append(Image.fromarray(drawn))
            rows[-1].thumbnail((3 * MAX_SIDE, MAX_SIDE))  # shrinks larger images only
    overview = Image.new("RGB", (max(row.width for row in rows), sum(row.height for row in rows)), IGNORED_COLOR)
    top = 0
    for row in rows:
        overview.paste(row, (0, top))
        top += row.height
    return overview
