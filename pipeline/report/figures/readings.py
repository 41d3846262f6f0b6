"""What the page's script reads off a panel of loss curves: where its axes lie, and the numbers of the curves."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes

from pipeline.report import wording
from pipeline.report.figures import svg
from pipeline.report.figures.lines import Line

DECIMALS = 6  # of a run's losses: the page prints three of them, and rounds once


@dataclass(frozen=True)
class RunCurve:
    """A run's own curves; of a run that diverged, as far as its losses were finite."""

    run: str
    rate: float
    epochs: tuple[int, ...]
    validation: tuple[float, ...]  # nats a pixel
    training: tuple[float, ...]


def readings(
    axes: Axes, rates: Sequence[float], means: Mapping[float, tuple[Line, Line]], single: Sequence[RunCurve]
) -> str:
    """JSON for the script.

    Args:
        axes: of the drawn figure.
        rates: of the grid; a rate's place among them is its colour's.
        means: by rate, validation and training over seeds.
        single: the runs.
    """
    box = svg.extent(axes)
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
        "series": [_series(rate, rates.index(rate), *lines) for rate, lines in means.items()],
        "runs": [_run(curve, rates.index(curve.rate)) for curve in single],
    }
    return json.dumps(content, allow_nan=False, separators=(",", ":"))


def _series(rate: float, place: int, validation: Line, training: Line) -> dict[str, Any]:
    """The means as the page prints them."""
    return {
        "name": f"rate {wording.rate(rate)}",
        "rate": place,
        "epochs": validation.epochs.tolist(),
        "validation": [wording.number(float(loss)) for loss in validation.mean],
        "training": [wording.number(float(loss)) for loss in training.mean],
    }


def _run(curve: RunCurve, place: int) -> dict[str, Any]:
    losses = {side: [round(loss, DECIMALS) for loss in getattr(curve, side)] for side in ("validation", "training")}
    return {"name": curve.run, "rate": place, "epochs": curve.epochs, **losses}
