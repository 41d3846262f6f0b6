"""Figure of the risk-coverage curve: the error rate of the pixels that remain if the least certain are left out."""

from __future__ import annotations

import pandas as pd
from markupsafe import Markup
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from pipeline.artifacts.project import Project
from pipeline.report.figures import svg

SIZE = (4.6, 3.2)  # inches
STYLES = {"validation": "--", "test": "-"}


def draw_risk_coverage(table: pd.DataFrame, project: Project) -> Markup:
    """Draw the error rate over the share of the pixels that remain: test solid, validation dashed.

    Args:
        table: Rows of `risk_coverage.csv`, without undefined error rates.
        project: The project with the style of the figures.
    """
    with svg.use_style(project):
        figure = Figure(SIZE, layout="constrained")
        axes = figure.add_subplot()
        for split, style in STYLES.items():
            rows = table[table["split"] == split]
            axes.plot(rows["coverage"], rows["error_rate"], color=svg.INK, linestyle=style)
        rate = float(table.loc[table["split"] == "test", "error_rate"].iloc[-1])
        axes.axhline(rate, color=svg.QUIET, linewidth=1)
        axes.annotate(
            "random order", (0, rate), (4, -4), textcoords="offset points", va="top", color=svg.QUIET, fontsize=10
        )
        axes.set_xlim(0, 1)
        axes.set_ylim(0, max(1.08 * float(table["error_rate"].max()), 0.001))
        axes.xaxis.set_major_formatter(PercentFormatter(1))
        axes.yaxis.set_major_formatter(PercentFormatter(1))
        axes.set_xlabel("share of the pixels that remain", loc="right")
        axes.set_title("error rate", loc="left", fontsize=11)
        return svg.render_svg(figure, "risk-coverage")
