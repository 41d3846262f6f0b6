"""Loss curves as numbers: mean and range over seeds, the shared axis, and the JSON for the page's script."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from pipeline.number_format import format_number

HEADROOM = 3.0  # axis limit as a multiple of the baseline, so that diverging losses do not compress other curves
MIN_TICKS = 4
LOG_MIN_RATIO = 5.0  # an axis is logarithmic if the ratio of its ends is larger


# By epoch, in nats per pixel: mean of the loss over all runs, NaN after the first of them has ended, and minimum and
# maximum over the runs with this epoch.
LossCurve = pd.DataFrame


@dataclass(frozen=True)
class LossAxis:
    """The loss axis of all panels."""

    low: float
    high: float
    is_log: bool
    is_clipped: bool  # whether a loss exceeds it

    def choose_ticks(self, label: float) -> list[float]:
        """Choose round tick values that do not overlap the label of the baseline, which is at the loss `label`."""
        if self.is_log:
            powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            for bases in ((1, 2, 5), (1, 1.5, 2, 3, 5, 7)):
                ticks = [base * 10.0**power for power in powers for base in bases]
                ticks = [tick for tick in ticks if self.low <= tick <= self.high]
                if len(ticks) >= MIN_TICKS:
                    break
        else:
            ticks = list(MaxNLocator(5, steps=(1, 2, 5, 10)).tick_values(0, self.high))
        return [tick for tick in ticks if tick <= self.high and not 0.97 * label < tick < 1.25 * label]


def aggregate_runs(rows: pd.DataFrame) -> LossCurve:
    """Compute the mean, minimum and maximum of the runs' losses on one split at each epoch.

    After the first run has ended, such as by early stopping, there is no mean. A mean over the others would jump.
    """
    curve = rows.groupby("epoch")["loss"].agg(["mean", "min", "max", "count"])
    curve.loc[curve["count"] < curve["count"].max(), "mean"] = np.nan
    return curve.drop(columns="count")


def choose_axis(lines: list[LossCurve], baseline: float) -> LossAxis:
    """Choose a loss axis that suits all curves and does not extend to diverging losses."""
    lowest = min(float(item["min"].min()) for item in lines)
    highest = max(float(item["max"].max()) for item in lines)
    typical = float(np.median([item["mean"].min() for item in lines]))
    ceiling = max(HEADROOM * baseline, 1.2 * typical)
    clipped = highest > ceiling
    high = ceiling if clipped else 1.05 * max(highest, baseline)
    log = lowest > 0 and high / lowest > LOG_MIN_RATIO
    return LossAxis(0.9 * lowest if log else 0.0, high, log, clipped)


DECIMALS = 6  # decimals of a run's losses; the script rounds them to three


def export_runs(table: pd.DataFrame, learning_rates: Sequence[float]) -> dict[str, list[dict[str, Any]]]:
    """Export the losses of each run for the page's script.

    Args:
        table: Rows of `curves.csv`.
        learning_rates: Learning rates of the grid. A learning rate has the same index as its color.

    Returns:
        One dictionary per run, by variant. Epochs without a finite training or validation loss are left out.
    """
    found: dict[str, list[dict[str, Any]]] = {}
    for (variant, learning_rate, run), rows in table.groupby(["variant", "learning_rate", "run"], sort=False):
        losses = rows.pivot(index="epoch", columns="split", values="loss").reindex(columns=["validation", "train"])
        losses = losses.dropna().sort_index()
        if len(losses):
            content = {
                "name": run,
                "rate": learning_rates.index(learning_rate),
                "epochs": losses.index.tolist(),
                "validation": [round(loss, DECIMALS) for loss in losses["validation"]],
                "training": [round(loss, DECIMALS) for loss in losses["train"]],
            }
            found.setdefault(str(variant), []).append(content)
    return found


def export_curves(
    axes: Axes,
    learning_rates: Sequence[float],
    means: Mapping[float, tuple[LossCurve, LossCurve]],
    runs: Sequence[dict[str, Any]],
) -> str:
    """Export the axes' position, the means over seeds and the runs from `export_runs` as JSON for the page's script."""
    box = axes.get_position()  # fractions of the figure's width and height, from the lower left
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
        "series": [
            {
                "name": f"learning rate {learning_rate}",
                "rate": learning_rates.index(learning_rate),
                "epochs": validation["mean"].dropna().index.tolist(),
                "validation": [format_number(loss) for loss in validation["mean"].dropna()],
                "training": [format_number(loss) for loss in training["mean"].dropna()],
            }
            for learning_rate, (validation, training) in means.items()
        ],
        "runs": runs,
    }
    return json.dumps(content, allow_nan=False, separators=(",", ":"))
