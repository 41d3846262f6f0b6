"""Collect confidences and losses of pixels while a split is predicted: by bin of confidence, and by class."""

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
    """Sums over the evaluated pixels of N images with C classes.

    Attributes:
        bins: N x 3 x BINS: number of pixels, number of correct pixels and sum of confidences, by bin of confidence.
        class_pixels: N x C, number of pixels by ground truth.
        class_losses: N x C, sum of the pixels' cross-entropy in nats, by ground truth.
    """

    bins: Floats
    class_pixels: Floats
    class_losses: Floats

    def sum_bins(self, index: npt.NDArray[np.int64] | None = None) -> ReliabilityBins:
        """Sum the bins of all images, or of those in `index`."""
        return ReliabilityBins(*(self.bins if index is None else self.bins[index]).sum(axis=0))


class ConfidenceCollector:
    """Collects `ConfidenceStats` from the batches of a split."""

    def __init__(self, num_classes: int) -> None:
        self._num_classes = num_classes
        self._parts: list[tuple[Tensor, Tensor]] = []

    def __call__(self, pixels: PixelPredictions) -> None:
        """Add a batch."""
        evaluated = pixels.truth != IGNORE
        bins = (pixels.confidence * NUM_BINS).long().clamp(max=NUM_BINS - 1)
        correct = (pixels.predicted == pixels.truth).float()
        by_bin = _LabelSums(bins, evaluated, NUM_BINS)
        by_class = _LabelSums(pixels.truth, evaluated, self._num_classes)
        self._parts.append(
            (
                torch.stack([by_bin.count(), by_bin.sum(correct), by_bin.sum(pixels.confidence)], dim=1),
                torch.stack([by_class.count(), by_class.sum(pixels.losses)], dim=1),
            )
        )

    def stats(self) -> ConfidenceStats:
        """Return the sums of all batches, in their order."""
        bins, classes = (torch.cat(parts).cpu().numpy() for parts in zip(*self._parts, strict=True))
        return ConfidenceStats(bins, classes[:, 0], classes[:, 1])


class _LabelSums:
    """Sums over the evaluated pixels of each image by label: N x H x W to N x num_labels."""

    def __init__(self, labels: Tensor, evaluated: Tensor, num_labels: int) -> None:
        self._num_images, self._num_labels = len(labels), num_labels
        first = torch.arange(0, len(labels) * num_labels, num_labels, device=labels.device).view(-1, 1, 1)
        # Other pixels get an index behind all others: cheaper than selecting the evaluated ones.
        self._index = (first + labels).where(evaluated, len(labels) * num_labels).flatten()

    def count(self) -> Tensor:
        """Count pixels; float64."""
        return self._bincount(None)

    def sum(self, values: Tensor) -> Tensor:
        """Sum values (N x H x W); float64."""
        return self._bincount(values.flatten().double())

    def _bincount(self, weights: Tensor | None) -> Tensor:
        sums = torch.bincount(self._index, weights=weights, minlength=self._num_images * self._num_labels + 1)
        return sums[:-1].view(-1, self._num_labels).double()
