"""Find masks that the network confidently contradicts, while it predicts a split."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import torch

from pipeline.analysis.label_errors import (
    MIN_SUSPICIOUS,
    WrongPixels,
    compute_thresholds,
    count_contradicted,
    score_masks,
)
from pipeline.artifacts.evaluation_folder import EvaluationFolder
from pipeline.artifacts.prepared_data import SegmentationClass
from pipeline.evaluate.outputs import SplitPrediction
from pipeline.imaging import IGNORE
from pipeline.inference.prediction import PixelPredictions, Prediction

MAX_KEPT = 16  # masks with the highest scores of a split whose predictions are kept for the report


class ContradictionCollector:
    """Collector of the wrong pixels of a split's predicted batches, with their class and confidence."""

    def __init__(self, num_classes: int) -> None:
        self._num_classes = num_classes
        self._images = [np.zeros(0, np.int32)]
        self._predicted = [np.zeros(0, np.uint8)]
        self._confidences = [np.zeros(0, np.float32)]
        self._mask_probs = np.zeros(num_classes)

    def __call__(self, pixels: PixelPredictions) -> None:
        """Add the pixels of a batch of images, or of some rows of one image."""
        classes = self._num_classes
        evaluated = pixels.truth != IGNORE
        wrong = (evaluated & (pixels.predicted != pixels.truth)).flatten().nonzero().squeeze(1)
        image = pixels.first + wrong // pixels.truth[0].numel()
        self._images.append(image.int().cpu().numpy())
        self._predicted.append(pixels.predicted.flatten()[wrong].byte().cpu().numpy())
        self._confidences.append(pixels.confidence.flatten()[wrong].float().cpu().numpy())
        # Ignored pixels get an extra class after all others, which is cheaper than selecting the evaluated pixels.
        label = pixels.truth.where(evaluated, classes).flatten()
        probs = pixels.losses.neg().exp().double().flatten()  # float32 would lose the small terms of a large sum
        sums = torch.bincount(label, weights=probs, minlength=classes + 1)
        self._mask_probs += sums[:classes].cpu().numpy()

    def get_pixels(self) -> WrongPixels:
        """Return the wrong pixels of all images."""
        return WrongPixels(
            np.concatenate(self._images),
            np.concatenate(self._predicted),
            np.concatenate(self._confidences),
            self._mask_probs,
        )


def write_contradictions(
    folder: EvaluationFolder,
    splits: Mapping[str, SplitPrediction],
    wrong: Mapping[str, WrongPixels],
    classes: tuple[SegmentationClass, ...],
) -> None:
    """Write the scores of the masks, and the predictions that contradict them.

    Args:
        folder: the evaluation.
        splits: predictions by split.
        wrong: collected pixels of the splits to check; none if masks cannot be wrong.
        classes: the classes.
    """
    scores = {name: _score_split(pixels, splits[name].prediction, classes) for name, pixels in wrong.items()}
    folder.write_contradictions({name: (splits[name].split.ids, found) for name, found in scores.items()})
    for name, found in scores.items():
        ids, masks = splits[name].split.ids, splits[name].prediction.masks
        folder.write_contradicted({ids[index]: masks[index] for index in select_contradicted(found)})


def _score_split(
    pixels: WrongPixels, prediction: Prediction, classes: tuple[SegmentationClass, ...]
) -> npt.NDArray[np.float64]:
    """Compute the fraction of each image's object whose mask is contradicted; NaN without evaluated pixels."""
    foreground = np.array([item.foreground for item in classes])
    thresholds = compute_thresholds(pixels.mask_probs, prediction.confusion)
    contradicted = count_contradicted(pixels, thresholds, len(prediction.confusion))
    return score_masks(contradicted, prediction.confusion, foreground)


def select_contradicted(scores: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Select the images whose masks may be suspicious, at most `MAX_KEPT` with the highest scores."""
    order = np.argsort(-scores, kind="stable")[:MAX_KEPT]  # NaN comes last
    return order[scores[order] >= MIN_SUSPICIOUS]
