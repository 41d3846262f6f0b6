"""Validation loss as a function of the number of training images, and a prediction for twice as many.

The losses of networks follow a power law, `loss = a + b * n ** -c`, over a wide range of training-set sizes n
(Cortes et al., Learning curves: asymptotic values and rate of convergence, NIPS 6, 1994; Hestness et al., Deep learning
scaling is predictable, empirically, arXiv:1712.00409, 2017; Viering and Loog, The shape of learning curves: a review,
IEEE Transactions on Pattern Analysis and Machine Intelligence 45, 2023). For a given exponent c, the law is linear in a
and b, so that the least-squares fit is a search over c alone (variable projection, Golub and Pereyra, SIAM Journal on
Numerical Analysis 10, 1973).

The weights and the interval are based on the variation between seeds. Because a few seeds show it only roughly, the
standard deviation is assumed to be proportional to the loss, and estimated from all training-set sizes together. The
interval is a parametric bootstrap: the mean loss of each number of images is replaced by a draw from its Student
distribution, and the law is fitted again. Resampling three seeds would give intervals that are far too narrow
(`benchmarks/learning_curves.py`). If the losses deviate more from the law than the seeds explain, all deviations are
increased by the ratio (Birge, The calculation of errors by the method of least squares, Physical Review 40, 1932).
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from pipeline.analysis.seed_statistics import SIGNIFICANT
from pipeline.artifacts.learning_curve import FittedCurve, PredictedLoss

Floats = npt.NDArray[np.float64]

MIN_SIZES = 3  # as many as the law has parameters
FACTOR = 2  # the prediction is for this many times as many images
NUM_RESAMPLES = 1000
NUM_POINTS = 24  # of the curve, evenly spaced on a logarithmic axis
# Published exponents of networks are 0.05 to 0.5 with many images; with few, losses can fall faster.
_EXPONENTS: Floats = np.geomspace(0.05, 3, 300)
_MIN_VARIATION = 1e-6  # sd / loss, so that seeds with equal losses have finite weights


class UnidentifiedError(ValueError):
    """Raised if no power law can be fitted; the message is the reason, without a period."""


@dataclass(frozen=True)
class _Means:
    """Mean losses over seeds at K training-set sizes, in ascending order."""

    sizes: Floats  # K
    losses: Floats  # K
    errors: Floats  # K, standard errors
    degrees: int  # degrees of freedom of the standard errors

    def select(self, places: slice) -> _Means:
        """Select some of the training-set sizes."""
        return _Means(self.sizes[places], self.losses[places], self.errors[places], self.degrees)


def fit_learning_curve(losses: Sequence[tuple[int, Sequence[float]]], seed: int = 0) -> FittedCurve:
    """Fit a power law to the losses of several seeds at several training-set sizes.

    Args:
        losses: Number of training images and the losses of its seeds, ascending by number.
        seed: Seed of the bootstrap.

    Raises:
        UnidentifiedError: The losses do not identify a power law.
    """
    means = _average(losses)
    _check_fall(means)
    numbers = np.unique(np.geomspace(means.sizes[0], FACTOR * means.sizes[-1], NUM_POINTS).round())
    fewer = means.select(slice(-1))
    held_out = None
    with contextlib.suppress(UnidentifiedError):
        _check_fall(fewer)
        # The interval of the measured mean, which varies like the losses from which it is predicted.
        held_out = _predict(fewer, means.sizes[-1:], seed, float(means.errors[-1]))[0]
    return FittedCurve(tuple(_predict(means, numbers, seed)), held_out)


def _average(losses: Sequence[tuple[int, Sequence[float]]]) -> _Means:
    counts = np.array([len(values) for _, values in losses])
    means = np.array([np.mean(values) for _, values in losses])
    degrees = int((counts - 1).sum())
    if degrees < 1:
        raise UnidentifiedError("one seed does not show how much the losses vary")
    if means.min() <= 0:
        raise UnidentifiedError("a loss is 0")
    squares = sum(
        float(((np.array(values) / mean - 1) ** 2).sum()) for (_, values), mean in zip(losses, means, strict=True)
    )
    variation = max(math.sqrt(squares / degrees), _MIN_VARIATION)
    sizes = np.array([size for size, _ in losses], np.float64)
    return _Means(sizes, means, variation * means / np.sqrt(counts), degrees)


def _check_fall(means: _Means) -> None:
    """Check that the loss falls over enough training-set sizes.

    Raises:
        UnidentifiedError: It does not.
    """
    if len(means.sizes) < MIN_SIZES:
        raise UnidentifiedError(f"a power law needs at least {MIN_SIZES} training-set sizes")
    names = [f"{size:.0f}" for size in means.sizes]
    rises = np.diff(means.losses) / np.hypot(means.errors[:-1], means.errors[1:])
    steepest = int(rises.argmax())
    if rises[steepest] > stats.t.isf(SIGNIFICANT / len(rises), means.degrees):
        raise UnidentifiedError(f"the loss rises from {names[steepest]} to {names[steepest + 1]} images")
    fall = (means.losses[0] - means.losses[-1]) / np.hypot(means.errors[0], means.errors[-1])
    if fall < stats.t.isf(SIGNIFICANT, means.degrees):
        raise UnidentifiedError(f"the loss at {names[-1]} images is not significantly lower than at {names[0]}")


def _predict(means: _Means, numbers: Floats, seed: int, noise: float = 0.0) -> list[PredictedLoss]:
    """Predict the losses at some training-set sizes, with intervals; `noise` is a standard error to add to them."""
    fitted, residuals = _fit(means, means.losses[None], numbers)
    spare = len(means.sizes) - MIN_SIZES
    inflation = max(1.0, math.sqrt(residuals[0] / spare)) if spare else 1.0
    rng = np.random.default_rng(seed)
    draws = rng.standard_t(means.degrees, (NUM_RESAMPLES, len(means.sizes) + 1))
    resampled, _ = _fit(means, means.losses + inflation * means.errors * draws[:, :-1], numbers)
    low, high = np.quantile(resampled + noise * draws[:, -1:], [0.025, 0.975], axis=0)
    ends = zip(numbers, fitted[0], low, high, strict=True)
    return [PredictedLoss(int(number), *map(float, values)) for number, *values in ends]


def _fit(means: _Means, losses: Floats, numbers: Floats) -> tuple[Floats, Floats]:
    """Fit power laws with a non-negative asymptote and slope by weighted least squares.

    Args:
        means: Numbers of images and standard errors.
        losses: Losses of B samples (B x K).
        numbers: N training-set sizes.

    Returns:
        The losses of the fitted laws at these numbers (B x N), and the weighted sums of squared residuals (B).
    """
    largest = means.sizes[-1]
    weights = means.errors**-2 / (means.errors**-2).sum()
    level = losses @ weights
    lowest = np.full(len(losses), np.inf)
    fitted = np.zeros((3, len(losses)))  # asymptote, slope, exponent
    for exponent in _EXPONENTS:
        powers = (means.sizes / largest) ** -exponent
        center = powers @ weights
        slope = np.maximum((losses - level[:, None]) @ (weights * (powers - center)), 0)
        slope /= ((powers - center) ** 2) @ weights
        asymptote = level - slope * center
        through_zero = np.maximum(losses @ (weights * powers), 0) / (powers**2 @ weights)
        slope = np.where(asymptote < 0, through_zero, slope)
        asymptote = np.maximum(asymptote, 0)
        residuals = ((losses - asymptote[:, None] - slope[:, None] * powers) ** 2) @ weights
        is_better = residuals < lowest
        lowest = np.where(is_better, residuals, lowest)
        fitted = np.where(is_better, (asymptote, slope, np.full(len(losses), exponent)), fitted)
    asymptote, slope, best = fitted[:, :, None]
    return asymptote + slope * (numbers / largest) ** -best, lowest * (means.errors**-2).sum()
