"""Strip plot of the authors' results: one row per author, a dot per run, a diamond for the mean of the best setting."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median

from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipeline.analysis.leaderboard import AuthorResults
from pipeline.analysis.ranked_metric import RankedMetric
from pipeline.artifacts.project import Project
from pipeline.report.figures import svg
from pipeline.report.figures.value_range import ValueRange

WIDTH, ROW, MARGIN = 7.0, 0.3, 0.75  # inches
# If lower values are better, the axis ends at the larger of these limits, or at the highest value if that is lower.
# Outliers are drawn as arrows.
BASELINE_HEADROOM = 1.5  # multiple of the baseline
MEDIAN_HEADROOM = 3.0  # multiple of the median run's value
MAX_NAME = 24  # characters; the table below has the whole name


def choose_range(values: Sequence[float], baseline: float, *, is_lower_better: bool = True) -> ValueRange:
    """Choose the range for these values and the baseline; a baseline of 0 (all pixels have one class) is left out."""
    shown = [*values, baseline] if baseline > 0 else values
    limit = max(BASELINE_HEADROOM * baseline, MEDIAN_HEADROOM * median(values)) if is_lower_better else math.inf
    low, high = min(shown), min(max(shown), limit)
    if not low < high:  # all equal
        return ValueRange(0.9 * low, 1.1 * low or 1.0)
    return ValueRange(low, high)


def draw_strip_plot(
    authors: Sequence[AuthorResults], mine: str, metric: RankedMetric, baseline: float, project: Project
) -> Markup:
    """Draw one row per author, the first at the top.

    Args:
        authors: The authors to draw, at least one.
        mine: Name of the author to emphasize.
        metric: The metric that settings are ranked by.
        baseline: Value of the class-prior baseline; 0 if there is none.
        project: The project with the style of the figures.
    """
    values = [value for author in authors for value in author.values]
    span = choose_range(values, baseline, is_lower_better=metric.is_lower_better)
    with svg.use_style(project):
        figure = Figure((WIDTH, MARGIN + ROW * len(authors)), layout="constrained")
        axes = figure.add_subplot()
        span.apply(axes)
        if baseline > 0:
            _draw_baseline(axes, baseline)
        for place, author in enumerate(authors):
            _draw_author(axes, place, author, span.high, svg.INK if author.name == mine else svg.QUIET)
        axes.set_yticks(range(len(authors)), [_shorten(author.name) for author in authors])
        for label, author in zip(axes.get_yticklabels(), authors, strict=True):
            label.set_fontweight("bold" if author.name == mine else "normal")
            label.set_parse_math(False)  # a login name may contain dollar signs
        axes.set_ylim(len(authors) - 0.4, -1.1)  # the first is on top, with space above it for the baseline's label
        axes.set_xlabel(metric.title_with_unit, loc="right")
        return svg.render_svg(figure, "authors")


def _draw_baseline(axes: Axes, baseline: float) -> None:
    is_right = (axes.transScale + axes.transLimits).transform((baseline, 0))[0] > 0.5
    axes.axvline(baseline, color=svg.QUIET, linewidth=1)
    axes.annotate(
        "class-prior baseline",
        (baseline, 1),
        (-4 if is_right else 4, 0),
        xycoords=("data", "axes fraction"),
        textcoords="offset points",
        ha="right" if is_right else "left",
        va="top",
        color=svg.QUIET,
        fontsize=10,
    )


def _draw_author(axes: Axes, place: int, author: AuthorResults, high: float, color: str) -> None:
    shown = [value for value in author.values if value <= high]
    axes.plot(shown, [place] * len(shown), "o", color=color, alpha=0.45, markersize=5, markeredgewidth=0)
    if len(shown) < len(author.values):
        axes.plot(1, place, ">", color=color, markersize=6, clip_on=False, transform=axes.get_yaxis_transform())
    if author.best is not None and author.best.value <= high:
        axes.plot(author.best.value, place, "D", color=color, markersize=7)


def _shorten(name: str) -> str:
    """Leave out the middle of a long name, because names often differ at their ends."""
    if len(name) <= MAX_NAME:
        return name
    end = MAX_NAME // 3
    return f"{name[: MAX_NAME - end - 1]}…{name[-end:]}"
