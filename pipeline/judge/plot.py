"""The curves that were judged, as a picture."""

from __future__ import annotations

import io
import math
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pipeline.atomic_io import write_bytes
from pipeline.errors import PipelineError
from pipeline.judge.command import Judged

MOST_PANELS = 24
TRAIN, VAL = "#56b4e9", "#d55e00"  # Okabe and Ito's, which the colour-blind can tell apart


def draw(judged: list[Judged], baseline: float | None, path: Path) -> None:
    """Write a panel a run; the file's ending says which format.

    Raises:
        PipelineError: There are more runs than a picture can show.
    """
    if len(judged) > MOST_PANELS:
        raise PipelineError(f"{len(judged)} runs do not fit into one picture; {MOST_PANELS} do. Judge fewer at a time.")
    columns = min(len(judged), 3)
    rows = math.ceil(len(judged) / columns)
    figure = Figure(figsize=(5.2 * columns, 3.4 * rows), layout="constrained")
    for one, axes in zip(judged, figure.subplots(rows, columns, squeeze=False).flat, strict=False):
        _panel(one, baseline, axes)
    for axes in figure.axes[len(judged) :]:
        axes.remove()
    content = io.BytesIO()
    figure.savefig(content, format=path.suffix[1:], dpi=150)
    write_bytes(path, content.getbuffer())


def _panel(one: Judged, baseline: float | None, axes: Axes) -> None:
    curves, verdict = one.read.curves, one.verdict
    axes.set_title(f"{one.read.run}: {verdict.word}", loc="left", fontsize=11)
    if verdict.onset:
        axes.axvspan(verdict.onset[1], verdict.onset[2], color=VAL, alpha=0.15, linewidth=0, label="onset, 90 %")
    if baseline is not None:
        axes.axhline(baseline, color="#767676", linewidth=1, linestyle=":", label="class shares alone")
    axes.plot(curves.epochs, curves.train, color=TRAIN, linestyle="--", label="training")
    axes.plot(curves.epochs, curves.val, color=VAL, label="validation")
    if verdict.gaps:
        best = curves.epochs.index(verdict.gaps.best_epoch)
        axes.plot(verdict.gaps.best_epoch, curves.val[best], "o", color=VAL, label="best epoch")
    axes.set_xlabel("epoch")
    axes.set_ylabel("loss")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.spines[["top", "right"]].set_visible(False)
    settled = np.concatenate([curves.train, curves.val])
    settled = settled[np.isfinite(settled)]
    if len(settled):
        # The first epochs' losses would press the rest of the curves to the floor.
        axes.set_ylim(min(0, settled.min()), min(settled.max(), 3 * np.median(settled)) * 1.05)
    axes.legend(frameon=False, fontsize=8)
