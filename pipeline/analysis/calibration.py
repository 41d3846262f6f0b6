"""Calibration: reliability curve and expected calibration error.

The confidence of a pixel is the probability of its predicted class. Networks that memorize become overconfident on new
images (Guo, Pleiss, Sun and Weinberger, On calibration of modern neural networks, ICML 2017).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

NUM_BINS = 15  # number of bins of equal width, as in the paper

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class ReliabilityBins:
    """Pixels of a set of images, binned by confidence.

    Each array has `NUM_BINS` elements. Bin k covers the confidences from k / NUM_BINS to (k + 1) / NUM_BINS.
    """

    pixels: Floats  # number of pixels in each bin
    correct: Floats  # number of correctly predicted pixels in each bin
    confidences: Floats  # sum of the confidences in each bin

    @property
    def confidence(self) -> Floats:
        """Mean confidence of each bin, 0 to 1; NaN in an empty bin."""
        return self.confidences / np.where(self.pixels > 0, self.pixels, np.nan)

    @property
    def accuracy(self) -> Floats:
        """Share of correct pixels in each bin, 0 to 1; NaN in an empty bin."""
        return self.correct / np.where(self.pixels > 0, self.pixels, np.nan)

    @property
    def mean_confidence(self) -> float:
        """Mean confidence over all pixels, 0 to 1, for comparison with the accuracy."""
        return float(self.confidences.sum() / self.pixels.sum())

    @property
    def expected_calibration_error(self) -> float:
        """Mean absolute difference between accuracy and confidence over the bins, weighted by their pixels, 0 to 1.

        Naeini, Cooper and Hauskrecht, Obtaining well calibrated probabilities using Bayesian binning, AAAI 2015.
        """
        return float(np.abs(self.correct - self.confidences).sum() / self.pixels.sum())


def combine_bins(tables: Sequence[pd.DataFrame]) -> dict[str, ReliabilityBins]:
    """Add up the bins of one or more evaluations, by split.

    Args:
        tables: One row per split and bin, with the columns of `EvaluationFolder.CALIBRATION_COLUMNS`.
    """
    table = pd.concat(tables).fillna(0.0)  # the means of empty bins are undefined
    sums = table[["confidence", "accuracy"]].mul(table["pixels"], axis=0).assign(pixels=table["pixels"])
    bins = sums.groupby([table["split"], table["low"]]).sum()
    return {
        str(split): ReliabilityBins(*(rows[name].to_numpy(np.float64) for name in ("pixels", "accuracy", "confidence")))
        for split, rows in bins.groupby(bins.index.get_level_values("split"))
    }
