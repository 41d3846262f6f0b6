"""Loss curves as numbers: mean and range over seeds, the shared axis, and the JSON for the page's script."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes

from pipeline.report.figures import svg
from pipeline.report.formatting import format_learning_rate, format_number

HEADROOM = 3.0  # times the baseline, the end of the axis: diverging losses do not compress the other curves
MIN_TICKS = 4
LOG_MIN_RATIO = 5.0  # ratio of the axis' ends from which it is logarithmic


@dataclass(frozen=True)
class LossCurve:
    """Loss on a split over epochs at one learning rate of one variant."""

    epochs: npt.NDArray[np.int64]
    mean: npt.NDArray[np.float64]  # over the seeds with this epoch, nats per pixel
    low: npt.NDArray[np.float64]
    high: npt.NDArray[np.float64]

    @property
    def best(self) -> int:
        """Index of the lowest mean."""
        return int(np.argmin(self.mean))


@dataclass(frozen=True)
class LossAxis:
    """The loss axis of all panels."""

    low: float
    high: float
    is_log: bool
    is_clipped: bool  # whether a loss exceeds it

    def choose_ticks(self, label: float) -> list[float]:
        """Choose round values, without those that would overlap the label of the line at `label`."""
        return [tick for tick in self._list_round_values() if not 0.97 * label < tick < 1.25 * label]

    def _list_round_values(self) -> list[float]:
        if not self.is_log:
            step = _round_step(self.high / 5)
            return [step * i for i in range(int(self.high / step) + 1)]
        powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        found: list[float] = []
        for bases in ((1, 2, 5), (1, 1.5, 2, 3, 5, 7)):
            candidates = [base * 10.0**power for power in powers for base in bases]
            found = [tick for tick in candidates if self.low <= tick <= self.high]
            if len(found) >= MIN_TICKS:
                break
        return found


def aggregate_runs(rows: pd.DataFrame) -> LossCurve | None:
    """Aggregate the losses of runs on one split by epoch; None without epochs."""
    if rows.empty:
        return None
    by_epoch = rows.groupby("epoch")["loss"].agg(["mean", "min", "max"]).sort_index()
    return LossCurve(
        by_epoch.index.to_numpy(dtype=np.int64),
        by_epoch["mean"].to_numpy(dtype=np.float64),
        by_epoch["min"].to_numpy(dtype=np.float64),
        by_epoch["max"].to_numpy(dtype=np.float64),
    )


def choose_axis(lines: list[LossCurve], baseline: float) -> LossAxis:
    """Choose an axis with the lowest point of every curve, independent of diverging losses."""
    lowest = min(float(item.low.min()) for item in lines)
    highest = max(float(item.high.max()) for item in lines)
    typical = float(np.median([item.mean.min() for item in lines]))
    ceiling = max(HEADROOM * baseline, 1.2 * typical)
    clipped = highest > ceiling
    high = ceiling if clipped else 1.05 * max(highest, baseline)
    log = lowest > 0 and high / lowest > LOG_MIN_RATIO
    return LossAxis(0.9 * lowest if log else 0.0, high, log, clipped)


def _round_step(rough: float) -> float:
    power = 10.0 ** math.floor(math.log10(rough))
    return next(power * base for base in (1, 2, 5, 10) if power * base >= rough)


DECIMALS = 6  # of a run's losses; the script rounds them to three


@dataclass(frozen=True)
class RunCurve:
    """A run's curves, as far as its losses are finite."""

    run: str
    learning_rate: float
    epochs: tuple[int, ...]
    validation: tuple[float, ...]  # nats per pixel
    training: tuple[float, ...]


def export_curves(
    axes: Axes,
    learning_rates: Sequence[float],
    means: Mapping[float, tuple[LossCurve, LossCurve]],
    run_curves: Sequence[RunCurve],
) -> str:
    """Export curves as JSON for the page's script.

    Args:
        axes: Axes of the drawn figure.
        learning_rates: Of the grid; the index of one is that of its color.
        means: Validation and training curves over seeds by learning rate.
        run_curves: The curves of single runs.
    """
    box = svg.get_extent(axes)
    (first, last), (low, high) = axes.get_xlim(), axes.get_ylim()
    content = {
        "left": round(box.x0, 4),
        "right": round(box.x1, 4),
        "bottom": round(box.y0, 4),
        "top": round(box.y1, 4),
        "first": round(first, 3),
        "last": round(last, 3),
        "low": float(f"{low:.4g}"),
        "high": float(f"{high:.4g}"),
        "log": axes.get_yscale() == "log",
        "series": [_export_mean(rate, learning_rates.index(rate), *lines) for rate, lines in means.items()],
        "runs": [_export_run(curve, learning_rates.index(curve.learning_rate)) for curve in run_curves],
    }
    return json.dumps(content, allow_nan=False, separators=(",", ":"))


def _export_mean(learning_rate: float, index: int, validation: LossCurve, training: LossCurve) -> dict[str, Any]:
    """Export means as formatted numbers."""
    return {
        "name": f"learning rate {format_learning_rate(learning_rate)}",
        "rate": index,
        "epochs": validation.epochs.tolist(),
        "validation": [format_number(float(loss)) for loss in validation.mean],
        "training": [format_number(float(loss)) for loss in training.mean],
    }


def _export_run(curve: RunCurve, index: int) -> dict[str, Any]:
    losses = {side: [round(loss, DECIMALS) for loss in getattr(curve, side)] for side in ("validation", "training")}
    return {"name": curve.run, "rate": index, "epochs": curve.epochs, **losses}
