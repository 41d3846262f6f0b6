"""Draw a panel of loss curves: one variant, one color per learning rate."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from pipeline.analysis.curves import LossCurves
from pipeline.report.figures import svg
from pipeline.report.figures.curve_data import LossAxis, LossCurve, export_curves

LABEL_POSITION = 1.12  # multiple of the baseline: the loss at the middle of the baseline's label
AXIS_OVERFLOW = 1.1  # multiple of the end of the axis: higher losses are mentioned below the panel

CurveKey = tuple[str, float, str]  # variant, learning rate, split


@dataclass(frozen=True)
class Panel:
    """The drawn curves of one variant."""

    variant: str
    svg: Markup
    values: str  # JSON for the page's script: position of the axes, and numbers of the curves
    notes: tuple[str, ...]


@dataclass(frozen=True)
class CurvePlot:
    """Curves and settings of all panels."""

    means: dict[CurveKey, LossCurve]  # over the seeds that did not diverge
    runs: dict[str, list[dict[str, Any]]]  # curves of individual runs by variant, for the page's script
    diverged: dict[CurveKey, tuple[LossCurve, ...]]  # one curve per diverged run, which would distort the mean
    learning_rates: tuple[float, ...]  # of the whole grid, so that colors are the same on every page
    axis: LossAxis
    baseline: float
    epochs: int
    onsets: dict[tuple[str, float], list[tuple[int, int]]]  # intervals of epochs by variant and learning rate
    external: tuple[tuple[str, LossCurves], ...]  # external results, with their names


def draw_panel(plot: CurvePlot, variant: str, panel: int, size: tuple[float, float]) -> Panel:
    """Draw the panel of a variant.

    Args:
        plot: The curves of all panels.
        variant: The variant to draw.
        panel: Number of the panel, which makes the ids in its SVG unique on the page.
        size: Width and height in inches.
    """
    figure = Figure(size, layout="constrained")
    axes = figure.add_subplot()
    _set_up_axes(axes, plot, variant)
    for name, curves in plot.external:
        _draw_external(axes, plot, name, curves)
    for index, learning_rate in enumerate(plot.learning_rates):
        _draw_learning_rate(axes, plot, variant, index, learning_rate)
    drawing = svg.render_svg(figure, f"curves-{panel}")
    means = {
        learning_rate: (validation, training)
        for learning_rate in plot.learning_rates
        if (validation := plot.means.get((variant, learning_rate, "validation"))) is not None
        and (training := plot.means.get((variant, learning_rate, "train"))) is not None
    }
    values = export_curves(axes, plot.learning_rates, means, plot.runs.get(variant, ()))
    return Panel(variant, drawing, values, _describe_overflow(plot, variant))


def _draw_learning_rate(axes: Axes, plot: CurvePlot, variant: str, index: int, learning_rate: float) -> None:
    """Draw the curves of one learning rate, with ids that the page's script uses."""
    color, before = svg.get_series_color(index), set(axes.get_children())
    for curve in plot.diverged.get((variant, learning_rate, "validation"), ()):
        _draw_diverged(axes, curve, color, plot.axis.high)
    if (training := plot.means.get((variant, learning_rate, "train"))) is not None:
        _draw_mean(axes, training, color, "--", 1.3)
    if (validation := plot.means.get((variant, learning_rate, "validation"))) is not None:
        _draw_mean(axes, validation, color, "-", 1.9)
        best, marker = int(validation["mean"].argmin()), svg.get_marker(index)[0]
        lowest = float(validation["mean"].iloc[best])
        is_above = lowest > plot.axis.high
        # At the last epoch, the panel's edge would cut off half of the marker.
        (mark,) = axes.plot(
            validation.index[best], lowest, marker=marker, color=color, markersize=7.5, clip_on=is_above
        )
        mark.set_in_layout(False)  # in the layout, the marker would shrink this panel
    for low, high in plot.onsets.get((variant, learning_rate), ()):
        # At the lower edge, at a different height for each learning rate.
        height = 0.015 + 0.03 * index
        ends = (low - 0.1, high + 0.1)  # extended, so that an interval of one epoch is visible
        axes.plot(ends, (height, height), color=color, linewidth=4, alpha=0.75, transform=axes.get_xaxis_transform())
    for number, artist in enumerate(item for item in axes.get_children() if item not in before):
        artist.set_gid(f"rate-{index}-{number}")


def _set_up_axes(axes: Axes, plot: CurvePlot, variant: str) -> None:
    if plot.axis.is_log:
        axes.set_yscale("log")
    axes.set_ylim(plot.axis.low, plot.axis.high)
    axes.set_xlim(min(1, plot.epochs - 0.5), plot.epochs + 0.15)
    axes.yaxis.set_major_locator(FixedLocator(plot.axis.choose_ticks(plot.baseline)))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True, min_n_ticks=1))
    axes.set_xlabel("epoch", loc="right")
    if plot.baseline > 0:  # the baseline is 0 if all pixels belong to one class
        _draw_baseline(axes, plot, variant)


def _draw_baseline(axes: Axes, plot: CurvePlot, variant: str) -> None:
    axes.axhline(plot.baseline, color=svg.QUIET, linewidth=1)
    axes.annotate(
        "class-prior baseline",
        (1, plot.baseline),
        xycoords=("axes fraction", "data"),
        xytext=(0, -3 if (below := _has_room_below(plot, variant)) else 3),
        textcoords="offset points",
        ha="right",
        va="top" if below else "bottom",
        color=svg.QUIET,
        fontsize=10,
    )


def _has_room_below(plot: CurvePlot, variant: str) -> bool:
    """Return whether the baseline's label would be farther from the curve ends below the line than above it."""
    means = [drawn["mean"].dropna() for key, drawn in plot.means.items() if key[0] == variant]
    ends = [float(mean.iloc[-1]) / plot.baseline for mean in means]

    def measure_distance(position: float) -> float:
        return min((abs(math.log(end / position)) for end in ends), default=0.0)

    return measure_distance(1 / LABEL_POSITION) > measure_distance(LABEL_POSITION)


def _draw_external(axes: Axes, plot: CurvePlot, name: str, curves: LossCurves) -> None:
    """Draw an external result in gray up to the last epoch of the runs, without changing the limits of the axes."""
    shown = [place for place, epoch in enumerate(curves.epochs) if epoch <= plot.epochs]
    epochs = [curves.epochs[place] for place in shown]
    for losses, style in ((curves.train, "--"), (curves.val, "-")):
        axes.plot(epochs, losses[shown], color=svg.QUIET, linestyle=style, linewidth=1.2)
    if not shown:
        return
    end, last = epochs[-1], float(curves.val[shown[-1]])
    beside = end < plot.epochs / 2  # a short curve has space for its name after it
    # Otherwise the name is above the last third of the curve, which is about as long as the name.
    height = last if beside else float(curves.val[shown[-math.ceil(len(shown) / 3) :]].max())
    if height <= plot.axis.high:
        axes.annotate(
            name,
            (end, height),
            xytext=(4, 0) if beside else (0, 3),
            textcoords="offset points",
            ha="left" if beside else "right",
            va="center" if beside else "bottom",
            color=svg.QUIET,
            fontsize=10,
        )


def _draw_mean(axes: Axes, drawn: LossCurve, color: str, style: str, width: float) -> None:
    axes.fill_between(drawn.index, drawn["min"], drawn["max"], color=color, alpha=0.16, linewidth=0)
    axes.plot(drawn.index, drawn["mean"], color=color, linestyle=style, linewidth=width)


def _draw_diverged(axes: Axes, drawn: LossCurve, color: str, ceiling: float) -> None:
    """Draw a diverged run: a thin line that ends in a cross."""
    axes.plot(drawn.index, drawn["mean"], color=color, linewidth=1)
    end = (drawn.index[-1], min(float(drawn["mean"].iloc[-1]), ceiling))
    (cross,) = axes.plot(*end, marker="x", color=color, markersize=7, markeredgewidth=2, clip_on=False)
    cross.set_in_layout(False)  # in the layout, the cross would shrink this panel


def _describe_overflow(plot: CurvePlot, variant: str) -> tuple[str, ...]:
    """Describe losses that exceed the axis, one sentence per learning rate."""
    if not any(key[0] == variant for key in (*plot.means, *plot.diverged)):
        return ("No run of this variant has a curve.",)
    sentences = []
    for learning_rate in plot.learning_rates:
        drawn = [item for key, item in plot.means.items() if key[:2] == (variant, learning_rate)]
        drawn += [item for key, group in plot.diverged.items() if key[:2] == (variant, learning_rate) for item in group]
        peak = max((float(item["max"].max()) for item in drawn), default=0.0)
        if peak > AXIS_OVERFLOW * plot.axis.high:
            sentences.append(f"At learning rate {learning_rate} the loss reaches {peak:.3g}, above the axis.")
    return tuple(sentences)
