"""The reliability curve: how often a run is right by how sure it is, on training and on validation images."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from markupsafe import Markup
from matplotlib.figure import Figure

from pipeline.report.figures import svg

SIZE = (4.6, 3.8)  # inches
FEWEST = 0.001  # of a side's pixels: what a bin with fewer of them says is noise


def reliability_curve(table: pd.DataFrame, root: Path) -> Markup:
    """Draw the rows of `calibration.csv`, in the manner of the loss curves: validation solid, training dashed."""
    with svg.styled(root):
        figure = Figure(SIZE, layout="constrained")
        axes = figure.add_subplot()
        drawn = []
        for split, style, marker in (("train", "--", ""), ("validation", "-", "o")):
            rows = table[table["split"] == split]
            rows = rows[rows["pixels"] > FEWEST * rows["pixels"].sum()]
            axes.plot(
                rows["confidence"], rows["accuracy"], color=svg.INK, linestyle=style, marker=marker, markersize=4.5
            )
            drawn.append(rows)
        low = min(1 / 3, *(float(rows[["confidence", "accuracy"]].min().min()) for rows in drawn))
        axes.plot([0, 1], [0, 1], color=svg.QUIET, linewidth=1)
        # At the lower end, where the curves begin further in.
        axes.annotate("as sure as right", (low, low), (6, -3), textcoords="offset points", color=svg.QUIET, fontsize=10)
        axes.set_xlim(low - 0.02, 1.01)
        axes.set_ylim(low - 0.02, 1.01)
        axes.set_xlabel("confidence", loc="right")
        axes.set_title("share that is right", loc="left", fontsize=11)
        return svg.inline(figure, "reliability")
