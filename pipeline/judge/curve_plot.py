"""Plot judged loss curves."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from pipeline.analysis.verdict import Verdict
from pipeline.atomic_io import write_with
from pipeline.curve_readers.logged_run import RunCurves
from pipeline.errors import PipelineError
from pipeline.judge.verdicts import JudgedRun

MAX_PANELS = 24
TRAIN, VAL = "#56b4e9", "#d55e00"  # Okabe and Ito's color-blind safe palette


def draw_curves(judged: list[JudgedRun], baseline: float | None, path: Path) -> None:
    """Draw one panel per run; the file's suffix selects the format.

    Raises:
        PipelineError: There are too many runs.
    """
    if len(judged) > MAX_PANELS:
        raise PipelineError(f"--plot: the file has {len(judged)} runs, but a figure has at most {MAX_PANELS} panels.")
    columns = min(len(judged), 3)
    rows = math.ceil(len(judged) / columns)
    figure = Figure(figsize=(5.2 * columns, 3.4 * rows), layout="constrained")
    for (run, verdict), axes in zip(judged, figure.subplots(rows, columns, squeeze=False).flat, strict=False):
        draw_panel(run, verdict, baseline, axes)
    for axes in figure.axes[len(judged) :]:
        axes.remove()
    write_with(path, lambda file: figure.savefig(file, format=path.suffix[1:], dpi=150))


def draw_panel(run: RunCurves, verdict: Verdict, baseline: float | None, axes: Axes) -> None:
    """Draw the curves of a run, and its onset and best epoch."""
    curves = run.curves
    title = axes.set_title(f"{run.title}: {verdict.word}", loc="left", fontsize=11)
    title.set_parse_math(False)  # names of runs are not formulas
    if verdict.onset:
        axes.axvspan(verdict.onset[1], verdict.onset[2], color=VAL, alpha=0.15, linewidth=0, label="onset, 90%")
    if baseline is not None:
        axes.axhline(baseline, color="#767676", linewidth=1, linestyle=":", label="class-prior baseline")
    axes.plot(curves.epochs, curves.train, color=TRAIN, linestyle="--", label="training")
    axes.plot(curves.epochs, curves.val, color=VAL, label="validation")
    if verdict.gaps:
        best = curves.epochs.index(verdict.gaps.best_epoch)
        axes.plot(verdict.gaps.best_epoch, curves.val[best], "o", color=VAL, label=f"best {curves.unit}")
    axes.set_xlabel(curves.unit)
    axes.set_ylabel("loss")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.spines[["top", "right"]].set_visible(False)
    losses = np.stack([curves.train, curves.val])
    if np.isfinite(losses).any() and not curves.has_negative:
        axes.set_ylim(0, _choose_limit(np.where(np.isfinite(losses), losses, np.nan)))
    axes.legend(frameon=False, fontsize=8)


def _choose_limit(losses: NDArray[np.float64]) -> float:
    """Choose the end of the loss axis: high losses of the first epochs do not fit, as they would compress the rest.

    Args:
        losses: 2 x E, training and validation; NaN for losses that are not finite.
    """
    start = 0 if np.isnan(losses[1]).all() else int(np.nanargmin(losses[1]))
    shown = max(3 * float(np.nanmedian(losses)), float(np.nanmax(losses[:, start:])))
    return 1.05 * min(float(np.nanmax(losses)), shown)
