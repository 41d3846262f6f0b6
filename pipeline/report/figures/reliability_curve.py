"""Accuracy over confidence, on training and validation images."""

from __future__ import annotations

from collections.abc import Mapping

from markupsafe import Markup
from matplotlib.figure import Figure

from pipeline.analysis.calibration import ReliabilityBins
from pipeline.artifacts.project import Project
from pipeline.report.figures import svg

SIZE = (4.6, 3.8)  # inches
MIN_BIN_SHARE = 0.001  # of a split's pixels; bins with fewer are noise


def draw_reliability_curve(bins: Mapping[str, ReliabilityBins], project: Project) -> Markup:
    """Draw accuracy over confidence: validation solid, training dashed."""
    with svg.use_style(project):
        figure = Figure(SIZE, layout="constrained")
        axes = figure.add_subplot()
        low = 1 / 3
        for split, style, marker in (("train", "--", ""), ("validation", "-", "o")):
            shown = bins[split].pixels > MIN_BIN_SHARE * bins[split].pixels.sum()
            confidence, accuracy = bins[split].confidence[shown], bins[split].accuracy[shown]
            axes.plot(confidence, accuracy, color=svg.INK, linestyle=style, marker=marker, markersize=4.5)
            low = min(low, confidence.min(), accuracy.min())
        axes.plot([0, 1], [0, 1], color=svg.QUIET, linewidth=1)
        axes.annotate(
            "perfect calibration", (low, low), (6, -3), textcoords="offset points", color=svg.QUIET, fontsize=10
        )
        axes.set_xlim(low - 0.02, 1.01)
        axes.set_ylim(low - 0.02, 1.01)
        axes.set_xlabel("confidence", loc="right")
        axes.set_title("accuracy", loc="left", fontsize=11)
        return svg.render_svg(figure, "reliability")
