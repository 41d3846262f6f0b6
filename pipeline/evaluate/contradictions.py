"""Find masks that the network confidently contradicts, while it predicts a split."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import torch

from pipeline.analysis.label_errors import (
    MIN_SUSPICIOUS,
    NUM_BINS,
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
    """Collector that counts the wrong pixels of a split's predicted batches by class and confidence."""

    def __init__(self, num_images: int, num_classes: int) -> None:
        self._num_classes = num_classes
        self._counts = np.zeros((num_images, num_classes, NUM_BINS), dtype=np.int32)
        self._mask_probs = np.zeros(num_classes)

    def __call__(self, pixels: PixelPredictions) -> None:
        """Add the pixels of a batch of images, or of some rows of one image."""
        num_images, classes = len(pixels.truth), self._num_classes
        evaluated = pixels.truth != IGNORE
        wrong = (evaluated & (pixels.predicted != pixels.truth)).flatten().nonzero().squeeze(1)
        image = wrong // pixels.truth[0].numel()
        predicted = pixels.predicted.flatten()[wrong]
        bins = (pixels.confidence.flatten()[wrong] * NUM_BINS).long().clamp(max=NUM_BINS - 1)
        index = (image * classes + predicted) * NUM_BINS + bins
        counts = torch.bincount(index, minlength=num_images * classes * NUM_BINS).cpu().numpy()
        self._counts[pixels.first : pixels.first + num_images] += counts.reshape(num_images, classes, NUM_BINS)
        # Ignored pixels get an extra class after all others, which is cheaper than selecting the evaluated pixels.
        label = pixels.truth.where(evaluated, classes).flatten()
        probs = pixels.losses.neg().exp().double().flatten()  # float32 would lose the small terms of a large sum
        sums = torch.bincount(label, weights=probs, minlength=classes + 1)
        self._mask_probs += sums[:classes].cpu().numpy()

    def get_pixels(self) -> WrongPixels:
        """Return the counts of all images, in the order of the split."""
        return WrongPixels(self._counts, self._mask_probs)


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
    contradicted = count_contradicted(pixels.counts, thresholds)
    return score_masks(contradicted, prediction.confusion, foreground)


def select_contradicted(scores: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Select the images whose masks may be suspicious, at most `MAX_KEPT` with the highest scores."""
    order = np.argsort(-scores, kind="stable")[:MAX_KEPT]  # NaN comes last
    return order[scores[order] >= MIN_SUSPICIOUS]
