"""Whether a network is as often right as it is sure: the reliability curve and the expected calibration error.

A pixel's confidence is the probability of the class that is predicted there. Guo, Pleiss, Sun and Weinberger, On
calibration of modern neural networks, ICML 2017: networks that memorise grow too sure of what they have not seen.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

BINS = 15  # of equal width, as in the paper

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class ReliabilityBins:
    """A set's pixels by confidence; `BINS` entries each, the k-th for confidences from k / BINS to (k + 1) / BINS.

    Attributes:
        pixels: how many there are.
        right: how many of them are right.
        confidences: the sum of their confidences.
    """

    pixels: Floats
    right: Floats
    confidences: Floats

    @property
    def confidence(self) -> Floats:
        """The mean confidence of each bin, 0 to 1; NaN where it is empty."""
        return self.confidences / np.where(self.pixels > 0, self.pixels, np.nan)

    @property
    def accuracy(self) -> Floats:
        """The share of each bin's pixels that are right; NaN where it is empty."""
        return self.right / np.where(self.pixels > 0, self.pixels, np.nan)

    @property
    def mean_confidence(self) -> float:
        """Over all pixels, 0 to 1; to be compared with the accuracy."""
        return float(self.confidences.sum() / self.pixels.sum())

    @property
    def error(self) -> float:
        """The expected calibration error, 0 to 1: how far each bin's accuracy is from its confidence, by its pixels.

        Naeini, Cooper and Hauskrecht, Obtaining well calibrated probabilities using Bayesian binning, AAAI 2015.
        """
        return float(np.abs(self.right - self.confidences).sum() / self.pixels.sum())
