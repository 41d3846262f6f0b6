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
        lowest: the rate at which the smoothed loss was lowest. Training at it for long would be on the edge.
        smoothed: the running mean of the losses, up to where the rate is too high.
    """

    grid: tuple[float, float, float]
    lowest: float
    smoothed: Floats


def suggest(test: RangeTest) -> Suggestion | None:
    """The three powers of ten below the rate with the lowest smoothed loss; None where the loss never fell."""
    smoothed = smooth(test.losses)
    best = np.minimum.accumulate(smoothed)
    too_high = np.flatnonzero(smoothed > WORSE * best)
    smoothed = smoothed[: too_high[0] if len(too_high) else len(smoothed)]
    if len(smoothed) < 2:
        return None
    place = int(smoothed.argmin())
    # Half a tenth of the loss lost is the least that counts as having learned something.
    if smoothed[place] > 0.95 * smoothed[0]:
        return None
    lowest = float(test.rates[place])
    highest = math.floor(math.log10(lowest) + 1e-9)
    return Suggestion((10.0**highest, 10.0 ** (highest - 1), 10.0 ** (highest - 2)), lowest, smoothed)


def smooth(losses: Floats) -> Floats:
    """A running mean whose start is corrected for having few values, up to the first loss that is no number."""
    bad = np.flatnonzero(~np.isfinite(losses))
    kept = losses[: bad[0]] if len(bad) else losses
    means, mean = np.empty(len(kept)), 0.0
    for step, loss in enumerate(kept):
        mean = MEMORY * mean + (1 - MEMORY) * float(loss)
        means[step] = mean / (1 - MEMORY ** (step + 1))
    return means
