"""Suggest a grid from a learning-rate range test (Smith, Cyclical learning rates, WACV 2017)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

DECAY = 0.9  # decay of the running mean of batch losses
MAX_RISE = 1.5  # the learning rate is too high once the loss exceeds this multiple of the lowest loss so far


@dataclass(frozen=True)
class RangeTest:
    """Losses of a training run with an increasing learning rate."""

    learning_rates: Floats  # learning rate of each step, ascending
    losses: Floats  # training loss of each step; the last may be NaN or infinite


@dataclass(frozen=True)
class Suggestion:
    """Suggested learning rates."""

    grid: tuple[float, float, float]  # three powers of ten, the highest first
    halfway: float  # learning rate at half of the decrease in loss, near its steepest descent
    smoothed: Floats  # running mean of the losses, up to where the learning rate is too high


def suggest_grid(test: RangeTest) -> Suggestion | None:
    """Suggest the power of ten nearest to the middle of the decrease in loss, and the powers above and below.

    The learning rate with the lowest loss, a common choice, is not robust: in a short test, batch normalization also
    keeps the loss low at higher learning rates. Across seeds, it varied from 1e-2 to 1, whereas the middle of the
    decrease varied by less than a factor of three.

    Returns:
        The suggestion; None if the loss does not decrease.
    """
    smoothed = smooth(test.losses)
    best = np.minimum.accumulate(smoothed)
    too_high = np.flatnonzero(smoothed > MAX_RISE * best)
    smoothed = smoothed[: too_high[0] if len(too_high) else len(smoothed)]
    if len(smoothed) < 2:
        return None
    # In the first decade, the network learns almost nothing.
    start = float(np.median(smoothed[test.learning_rates[: len(smoothed)] < 10 * test.learning_rates[0]]))
    lowest = float(smoothed.min())
    # A decrease of less than 5% is not learning.
    if lowest > 0.95 * start:
        return None
    halfway = float(test.learning_rates[np.flatnonzero(smoothed <= (start + lowest) / 2)[0]])
    middle = round(math.log10(halfway))
    return Suggestion((10.0 ** (middle + 1), 10.0**middle, 10.0 ** (middle - 1)), halfway, smoothed)


def smooth(losses: Floats) -> Floats:
    """Compute the bias-corrected running mean of the losses up to the first one that is not finite."""
    invalid = np.flatnonzero(~np.isfinite(losses))
    kept = losses[: invalid[0]] if len(invalid) else losses
    means, mean = np.empty(len(kept)), 0.0
    for step, loss in enumerate(kept):
        mean = DECAY * mean + (1 - DECAY) * float(loss)
        means[step] = mean / (1 - DECAY ** (step + 1))
    return means
