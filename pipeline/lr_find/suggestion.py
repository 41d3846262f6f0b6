"""What a learning-rate range test says (Smith, Cyclical learning rates for training neural networks, WACV 2017)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

MEMORY = 0.9  # of the running mean: a step's loss is that of one batch
WORSE = 1.5  # times the lowest loss so far: from there on the rate is too high, whatever comes later


@dataclass(frozen=True)
class RangeTest:
    """A training at a growing rate.

    Attributes:
        rates: of each step, ascending.
        losses: of each step's batch, as it was optimised; the last may be NaN or infinite.
    """

    rates: Floats
    losses: Floats


@dataclass(frozen=True)
class Suggestion:
    """What to try.

    Attributes:
        grid: three rates, each a power of ten, the highest first.
        halfway: the rate at which half of the loss's fall was done: about where it fell most steeply.
        smoothed: the running mean of the losses, up to where the rate is too high.
    """

    grid: tuple[float, float, float]
    halfway: float
    smoothed: Floats


def suggest(test: RangeTest) -> Suggestion | None:
    """The power of ten nearest to the middle of the fall, with its neighbours; None where the loss never fell.

    Not the rate of the lowest loss, as is often done: in so short a test batch normalisation keeps a network's loss low
    at any higher rate, and the lowest lies anywhere there (from 1e-2 to 1 with another seed, where the middle of the
    fall moved by less than a factor of three).
    """
    smoothed = smooth(test.losses)
    best = np.minimum.accumulate(smoothed)
    too_high = np.flatnonzero(smoothed > WORSE * best)
    smoothed = smoothed[: too_high[0] if len(too_high) else len(smoothed)]
    if len(smoothed) < 2:
        return None
    # Of the first tenfold growth, in which next to nothing is learned.
    start = float(np.median(smoothed[test.rates[: len(smoothed)] < 10 * test.rates[0]]))
    lowest = float(smoothed.min())
    # A twentieth of the loss is the least that counts as having learned something.
    if lowest > 0.95 * start:
        return None
    halfway = float(test.rates[np.flatnonzero(smoothed <= (start + lowest) / 2)[0]])
    middle = round(math.log10(halfway))
    return Suggestion((10.0 ** (middle + 1), 10.0**middle, 10.0 ** (middle - 1)), halfway, smoothed)


def smooth(losses: Floats) -> Floats:
    """A running mean whose start is corrected for having few values, up to the first loss that is no number."""
    bad = np.flatnonzero(~np.isfinite(losses))
    kept = losses[: bad[0]] if len(bad) else losses
    means, mean = np.empty(len(kept)), 0.0
    for step, loss in enumerate(kept):
        mean = MEMORY * mean + (1 - MEMORY) * float(loss)
        means[step] = mean / (1 - MEMORY ** (step + 1))
    return means
