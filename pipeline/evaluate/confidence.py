"""How sure a network is of each pixel, and how right: collected while it predicts, image by image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pipeline.analysis.calibration import NUM_BINS, ReliabilityBins
from pipeline.models.inference import Pixels
from pipeline.runs import IGNORE

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Confidence:
    """Sums over the counted pixels of N images with C classes.

    Attributes:
        bins: N x 3 x BINS; by the probability of the predicted class: pixels, right ones, and the sum of probabilities.
        class_pixels: N x C, by true class.
        class_losses: N x C, cross-entropy of the pixels of that true class, in nats.
    """

    bins: Floats
    class_pixels: Floats
    class_losses: Floats

    def reliability(self, index: npt.NDArray[np.int64] | None = None) -> ReliabilityBins:
        """The bins of all images together, or of those at the places in `index`."""
        return ReliabilityBins(*(self.bins if index is None else self.bins[index]).sum(axis=0))


class Observer:
    """Is shown the batches of a split, and makes a `Confidence` of them."""

    def __init__(self, classes: int) -> None:
        self._classes = classes
        self._parts: list[tuple[Tensor, Tensor]] = []

    def __call__(self, pixels: Pixels) -> None:
        """Take in a batch."""
        counted = pixels.truth != IGNORE
        level = (pixels.confidence * NUM_BINS).long().clamp(max=NUM_BINS - 1)
        right = (pixels.predicted == pixels.truth).float()
        by_level = _Sums(level, counted, NUM_BINS)
        by_class = _Sums(pixels.truth, counted, self._classes)
        self._parts.append(
            (
                torch.stack([by_level(), by_level(right), by_level(pixels.confidence)], dim=1),
                torch.stack([by_class(), by_class(pixels.losses)], dim=1),
            )
        )

    def confidence(self) -> Confidence:
        """What was seen so far, in its order."""
        bins, classes = (torch.cat(parts).cpu().numpy() for parts in zip(*self._parts, strict=True))
        return Confidence(bins, classes[:, 0], classes[:, 1])


class _Sums:
    """Sums by image and label over the counted pixels: N x H x W to N x size."""

    def __init__(self, labels: Tensor, counted: Tensor, size: int) -> None:
        self._images, self._size = len(labels), size
        first = torch.arange(0, self._images * size, size, device=labels.device).view(-1, 1, 1)
        # What does not count goes to a place of its own behind all others: cheaper than to pick out the rest.
        self._places = (first + labels).where(counted, self._images * size).flatten()

    def __call__(self, values: Tensor | None = None) -> Tensor:
        """The sums of N x H x W values, or the numbers of pixels; float64."""
        weights = None if values is None else values.flatten().double()
        sums = torch.bincount(self._places, weights=weights, minlength=self._images * self._size + 1)
        return sums[:-1].view(-1, self._size).double()
