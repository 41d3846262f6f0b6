"""Uncertainty of predicted probabilities in nats, and how well it finds errors.

The entropy of a pixel's mean prediction is its total uncertainty. The mean entropy of the members of an ensemble is the
part that all members see, such as a blurred outline. The difference is the mutual information between the prediction
and the choice of the member: their disagreement, which more training images can reduce (Houlsby et al. 2011, arXiv
1112.5745; Gal, Islam and Ghahramani, Deep Bayesian active learning with image data, ICML 2017).
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special, stats

Floats = npt.NDArray[np.float64]
Probs = npt.NDArray[np.float32]

NUM_BINS = 16384  # of the entropy
MIN_ENTROPY = 1e-37  # nats, the lowest that float32 distinguishes from 0
MIN_IMAGES = 3  # fewer have no rank correlation
COVERAGES = np.arange(1, 101) / 100


def compute_entropy(probs: Probs) -> Probs:
    """Compute the entropy of class probabilities (... x classes x H x W), in nats: ... x H x W."""
    entropy: Probs = special.entr(probs).sum(axis=-3)
    return entropy


def compute_disagreement(entropy: Probs) -> Probs:
    """Compute the disagreement of an ensemble's members in nats, H x W.

    Args:
        entropy: Entropy of the ensemble and then of each member, (1 + members) x H x W.
    """
    # Rounding can make it negative, and so can the blending of tiles.
    disagreement: Probs = np.maximum(entropy[0] - entropy[1:].mean(axis=0), 0)
    return disagreement


@dataclass(frozen=True)
class ErrorBins:
    """Pixels of a set of images in bins of their entropy, from the most certain pixels to the least certain ones."""

    pixels: Floats  # NUM_BINS, number of evaluated pixels
    errors: Floats  # NUM_BINS, number of wrong pixels

    @classmethod
    def count(cls, entropy: Probs, is_wrong: npt.NDArray[np.bool_], num_classes: int) -> ErrorBins:
        """Count evaluated pixels (any shape) by their entropy in nats."""
        bins = np.searchsorted(_create_limits(num_classes), entropy.ravel())
        pixels = np.bincount(bins, minlength=NUM_BINS)
        errors = np.bincount(bins[is_wrong.ravel()], minlength=NUM_BINS)
        return cls(pixels.astype(np.float64), errors.astype(np.float64))

    def __add__(self, other: ErrorBins) -> ErrorBins:
        """Add the pixels of other images."""
        return ErrorBins(self.pixels + other.pixels, self.errors + other.errors)

    def compute_error_rates(self) -> Floats:
        """Compute the error rate of the most certain pixels for each share of the pixels in `COVERAGES`.

        This is the risk-coverage curve (Geifman and El-Yaniv, Selective classification for deep neural networks,
        NeurIPS 2017). Without evaluated pixels, it is NaN.
        """
        pixels, errors = (np.concatenate([[0], values.cumsum()]) for values in (self.pixels, self.errors))
        if not pixels[-1]:
            return np.full(len(COVERAGES), np.nan)
        kept = COVERAGES * pixels[-1]
        return np.asarray(np.interp(kept, pixels, errors) / kept, dtype=np.float64)

    def compute_risk_coverage_area(self) -> float:
        """Compute the area under the risk-coverage curve, the mean error rate over all coverages; NaN without pixels.

        It equals the error rate for a random order of the pixels, and is lower if the least certain pixels are wrong
        more often. The errors of a bin are spread evenly over its pixels.
        """
        filled = self.pixels > 0
        pixels, errors = self.pixels[filled], self.errors[filled]
        if not len(pixels):
            return math.nan
        pixels_before, errors_before = pixels.cumsum() - pixels, errors.cumsum() - errors
        rate = errors / pixels
        # Integral of (e + rate * x) / (n + x) over x from 0 to the number of pixels in the bin.
        with np.errstate(divide="ignore"):
            growth = np.where(pixels_before > 0, np.log1p(pixels / pixels_before), 0)
        return float((rate * pixels + (errors_before - rate * pixels_before) * growth).sum() / pixels.sum())

    def compute_auroc(self) -> float:
        """Compute the probability that a wrong pixel has a higher entropy than a correct one; ties count half.

        It is NaN if all evaluated pixels are correct, or all are wrong.
        """
        correct = self.pixels - self.errors
        pairs = self.errors.sum() * correct.sum()
        return float((self.errors * (correct.cumsum() - correct / 2)).sum() / pairs) if pairs else math.nan


@functools.cache
def _create_limits(num_classes: int) -> Probs:
    """Create the limits of the bins.

    The entropies of a network may all be close to 0, to that of a uniform prediction, or to that of two equally likely
    classes. A quarter of the limits therefore have equal ratios of their distances from 0, a quarter have equal ratios
    of their distances from the highest entropy, and the others are evenly spaced.
    """
    highest = math.log(max(num_classes, 2))
    distances = np.geomspace(MIN_ENTROPY, highest, NUM_BINS // 4)
    spaced = np.linspace(0, highest, NUM_BINS // 2 - 1)
    return np.sort(np.concatenate([distances, highest - distances, spaced])).astype(np.float32)


def correlate_ranks(first: Floats, second: Floats) -> float:
    """Compute Spearman's rank correlation of N pairs of numbers. Pairs with NaN are left out.

    It is NaN for fewer than `MIN_IMAGES` pairs, and if one of the sides is constant.
    """
    defined = np.isfinite(first) & np.isfinite(second)
    ranks = [stats.rankdata(values[defined]) for values in (first, second)]
    if defined.sum() < MIN_IMAGES or any(np.ptp(values) == 0 for values in ranks):
        return math.nan
    return float(np.corrcoef(*ranks)[0, 1])
