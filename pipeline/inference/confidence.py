"""Collect the confidences of a split's pixels by bin, and their losses by class."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pipeline.analysis.calibration import NUM_BINS, ReliabilityBins
from pipeline.imaging import IGNORE
from pipeline.inference.prediction import PixelPredictions

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class ConfidenceStats:
    """Sums over the evaluated pixels of N images with C classes."""

    bins: Floats  # N x 3 x NUM_BINS: number of pixels, number of correct pixels and sum of confidences in each bin
    class_pixels: Floats  # N x C, number of pixels of each class in the ground truth
    class_losses: Floats  # N x C, sum of these pixels' cross-entropy in nats

    def sum_bins(self, index: npt.NDArray[np.int64] | None = None) -> ReliabilityBins:
        """Sum the bins of all images, or of those in `index`."""
        return ReliabilityBins(*(self.bins if index is None else self.bins[index]).sum(axis=0))


class ConfidenceCollector:
    """Collector that computes `ConfidenceStats` from the predicted batches of a split."""

    def __init__(self, num_classes: int) -> None:
        self._num_classes = num_classes
        self._bins: dict[int, Tensor] = {}  # keys: index of the first image of a batch
        self._classes: dict[int, Tensor] = {}

    def __call__(self, pixels: PixelPredictions) -> None:
        """Add the pixels of a batch of images, or of some rows of one image."""
        evaluated = pixels.truth != IGNORE
        bins = (pixels.confidence * NUM_BINS).long().clamp(max=NUM_BINS - 1)
        correct = (pixels.predicted == pixels.truth).float()
        by_bin = _sum_by_label(bins, evaluated, NUM_BINS, correct, pixels.confidence)
        by_class = _sum_by_label(pixels.truth, evaluated, self._num_classes, pixels.losses)
        for sums, added in ((self._bins, by_bin), (self._classes, by_class)):
            sums[pixels.first] = sums[pixels.first] + added if pixels.first in sums else added

    def stats(self) -> ConfidenceStats:
        """Return the sums for all images, in the order of the split."""
        bins, classes = (torch.cat(list(sums.values())).cpu().numpy() for sums in (self._bins, self._classes))
        return ConfidenceStats(bins, classes[:, 0], classes[:, 1])


def _sum_by_label(labels: Tensor, evaluated: Tensor, num_labels: int, *values: Tensor) -> Tensor:
    """Count the evaluated pixels of each image by label, and sum values over them (N x H x W each).

    Returns:
        N x (1 + number of values) x num_labels, float64.
    """
    size = len(labels) * num_labels
    first = torch.arange(0, size, num_labels, device=labels.device).view(-1, 1, 1)
    # Ignored pixels get an extra index after all others, which is cheaper than selecting the evaluated pixels.
    index = (first + labels).where(evaluated, size).flatten()
    weights = (None, *(value.flatten().double() for value in values))
    sums = [torch.bincount(index, weights=weight, minlength=size + 1)[:-1].double() for weight in weights]
    return torch.stack([column.view(-1, num_labels) for column in sums], dim=1)
