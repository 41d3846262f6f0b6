"""How sure a network is of each pixel, and how right: collected while it predicts, image by image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pipeline.analysis.calibration import BINS, Reliability
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

    def reliability(self, index: npt.NDArray[np.int64] | None = None) -> Reliability:
        """The bins of all images together, or of those at the places in `index`."""
        return Reliability(*(self.bins if index is None else self.bins[index]).sum(axis=0))


class Observer:
    """Is shown the batches of a split, and makes a `Confidence` of them."""

    def __init__(self, classes: int) -> None:
        self._classes = classes
        self._parts: list[tuple[Tensor, Tensor]] = []

    def __call__(self, logits: Tensor, masks: Tensor) -> None:
        """Take in a batch: logits N x C x H x W and masks N x H x W."""
        likelihoods = logits.double().log_softmax(dim=1)
        sure, guess = likelihoods.exp().max(dim=1)
        counted = masks != IGNORE
        truth = masks.where(counted, 0)
        losses = -likelihoods.gather(1, truth.unsqueeze(1)).squeeze(1)
        bins = (sure * BINS).long().clamp(max=BINS - 1)
        ones = torch.ones_like(sure)
        right = (guess == truth).double()
        self._parts.append(
            (
                torch.stack([_sums(bins, values, counted, BINS) for values in (ones, right, sure)], dim=1),
                torch.stack([_sums(truth, values, counted, self._classes) for values in (ones, losses)], dim=1),
            )
        )

    def confidence(self) -> Confidence:
        """What was seen so far, in its order."""
        bins, classes = (torch.cat(parts).cpu().numpy() for parts in zip(*self._parts, strict=True))
        return Confidence(bins, classes[:, 0], classes[:, 1])


def _sums(labels: Tensor, values: Tensor, counted: Tensor, size: int) -> Tensor:
    """Sums of the values by image and label (N x H x W each, to N x size), over the counted pixels."""
    images = torch.arange(len(labels), device=labels.device).view(-1, 1, 1).expand_as(labels)
    places = (images * size + labels)[counted]
    return torch.bincount(places, weights=values[counted], minlength=len(labels) * size).view(-1, size)
