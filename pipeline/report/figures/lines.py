"""Loss curves as numbers: mean and range over seeds, and the axis that suits them all."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

HEADROOM = 3.0  # times the baseline: the fall of the first epochs is seen, and what shoots up squashes nothing
FEWEST_TICKS = 4
LOG_FROM = 5.0  # the ratio of the axis' ends from which on a linear one hides what is below


@dataclass(frozen=True)
class Line:
    """A split's loss over epochs at one learning rate of one variant."""

    epochs: npt.NDArray[np.int64]
    mean: npt.NDArray[np.float64]  # over the seeds that still ran, nats a pixel
    low: npt.NDArray[np.float64]
    high: npt.NDArray[np.float64]

    @property
    def best(self) -> int:
        """The place of the lowest mean."""
        return int(np.argmin(self.mean))


@dataclass(frozen=True)
class Axis:
    """The loss axis that all panels share."""

    low: float
    high: float
    log: bool
    clipped: bool  # whether a curve leaves it at the top

    def ticks(self, label: float) -> list[float]:
        """Round values on the axis; none that would strike through the label above the line at `label`."""
        return [tick for tick in self._round_values() if not 0.97 * label < tick < 1.25 * label]

    def _round_values(self) -> list[float]:
        if not self.log:
            step = _round_step(self.high / 5)
            return [step * i for i in range(int(self.high / step) + 1)]
        powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        found: list[float] = []
        for bases in ((1, 2, 5), (1, 1.5, 2, 3, 5, 7)):
            candidates = [base * 10.0**power for power in powers for base in bases]
            found = [tick for tick in candidates if self.low <= tick <= self.high]
            if len(found) >= FEWEST_TICKS:
                break
        return found


def line(rows: pd.DataFrame) -> Line | None:
    """The line of some runs on one split, or None where they have no epoch."""
    if rows.empty:
        return None
    by_epoch = rows.groupby("epoch")["loss"].agg(["mean", "min", "max"]).sort_index()
    return Line(
        by_epoch.index.to_numpy(dtype=np.int64),
        by_epoch["mean"].to_numpy(dtype=np.float64),
        by_epoch["min"].to_numpy(dtype=np.float64),
        by_epoch["max"].to_numpy(dtype=np.float64),
    )


def axis(lines: list[Line], baseline: float) -> Axis:
    """An axis on which every line's best point can be read, and which no curve that shoots up can stretch."""
    lowest = min(float(item.low.min()) for item in lines)
    highest = max(float(item.high.max()) for item in lines)
    typical = float(np.median([item.mean.min() for item in lines]))
    ceiling = max(HEADROOM * baseline, 1.2 * typical)
    clipped = highest > ceiling
    high = ceiling if clipped else 1.05 * max(highest, baseline)
    log = lowest > 0 and high / lowest > LOG_FROM
    return Axis(0.9 * lowest if log else 0.0, high, log, clipped)


def _round_step(rough: float) -> float:
    power = 10.0 ** math.floor(math.log10(rough))
    return next(power * base for base in (1, 2, 5, 10) if power * base >= rough)
