"""A panel of loss curves: one variant, a colour a learning rate."""

from __future__ import annotations

import math
from dataclasses import dataclass

from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from pipeline.analysis.curves import Curves as LossCurves
from pipeline.report import wording
from pipeline.report.figures import palette, svg
from pipeline.report.figures.lines import Axis, Line
from pipeline.report.figures.readings import RunCurve, readings

LABEL = 1.12  # times the baseline: where the middle of its label stands above it
LEAVES = 1.1  # times the axis' end: what is nearer to it is not worth a sentence

Key = tuple[str, float, str]  # variant, learning rate, split


@dataclass(frozen=True)
class Panel:
    """The curves of one variant."""

    variant: str
    svg: Markup
    values: str  # JSON that a pointer reads from: where the axis lies in the figure, and the curves' numbers
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Plot:
    """What all panels share."""

    means: dict[Key, Line]  # over the runs that finished
    single: dict[str, tuple[RunCurve, ...]]  # by variant, a curve a run: to be seen alone
    strays: dict[Key, tuple[Line, ...]]  # a line a diverged run: in a mean it would look like a spike of all
    rates: tuple[float, ...]  # of the whole grid, so that a rate keeps its colour on every page
    axis: Axis
    baseline: float
    epochs: int
    onsets: dict[tuple[str, float], tuple[tuple[int, int], ...]]  # by variant and rate, an interval a run that has one
    references: tuple[tuple[str, LossCurves], ...]  # other people's, by name


def panel(plot: Plot, variant: str, index: int, size: tuple[float, float]) -> Panel:
    """Draw a variant's panel, `size` in inches; `index` keeps its ids apart from those of the other panels."""
    figure = Figure(size, layout="constrained")
    axes = figure.add_subplot()
    _ground(axes, plot, variant)
    for name, reference in plot.references:
        _reference(axes, plot, name, reference)
    for place, rate in enumerate(plot.rates):
        _rate(axes, plot, variant, place, rate)
    drawing = svg.inline(figure, f"curves-{index}")
    means = {
        rate: (validation, training)
        for rate in plot.rates
        if (validation := plot.means.get((variant, rate, "validation"))) is not None
        and (training := plot.means.get((variant, rate, "train"))) is not None
    }
    values = readings(axes, plot.rates, means, plot.single.get(variant, ()))
    return Panel(variant, drawing, values, _leaving(plot, variant))


def _rate(axes: Axes, plot: Plot, variant: str, place: int, rate: float) -> None:
    """All that is drawn of a learning rate; the page's script finds it by its id."""
    colour, before = svg.series(place), set(axes.get_children())
    for stray in plot.strays.get((variant, rate, "validation"), ()):
        _stray(axes, stray, colour, plot.axis.high)
    if (training := plot.means.get((variant, rate, "train"))) is not None:
        _mean(axes, training, colour, "--", 1.3)
    if (validation := plot.means.get((variant, rate, "validation"))) is not None:
        _mean(axes, validation, colour, "-", 1.9)
        lowest = (validation.epochs[validation.best], validation.mean[validation.best])
        axes.plot(*lowest, marker=palette.marker(place), color=colour, markersize=7.5)
    for low, high in plot.onsets.get((variant, rate), ()):
        # On the lower edge, each rate a little higher, so that none hides another.
        height = 0.015 + 0.03 * place
        ends = (low - 0.1, high + 0.1)  # an interval of one epoch is still to be seen
        axes.plot(ends, (height, height), color=colour, linewidth=4, alpha=0.75, transform=axes.get_xaxis_transform())
    for number, artist in enumerate(item for item in axes.get_children() if item not in before):
        artist.set_gid(f"rate-{place}-{number}")


def _ground(axes: Axes, plot: Plot, variant: str) -> None:
    if plot.axis.log:
        axes.set_yscale("log")
    axes.set_ylim(plot.axis.low, plot.axis.high)
    axes.set_xlim(min(1, plot.epochs - 0.5), plot.epochs + 0.15)
    axes.yaxis.set_major_locator(FixedLocator(plot.axis.ticks(plot.baseline)))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True, min_n_ticks=1))
    axes.set_xlabel("epoch", loc="right")
    if plot.baseline > 0:  # 0 where all pixels are of one class
        _baseline(axes, plot, variant)


def _baseline(axes: Axes, plot: Plot, variant: str) -> None:
    axes.axhline(plot.baseline, color=svg.QUIET, linewidth=1)
    axes.annotate(
        "class shares alone",
        (1, plot.baseline),
        xycoords=("axes fraction", "data"),
        xytext=(0, -3 if (below := _has_room_below(plot, variant)) else 3),
        textcoords="offset points",
        ha="right",
        va="top" if below else "bottom",
        color=svg.QUIET,
        fontsize=10,
    )


def _has_room_below(plot: Plot, variant: str) -> bool:
    """Whether the baseline's label keeps further from the curves' ends below its line than above."""
    ends = [float(drawn.mean[-1]) / plot.baseline for key, drawn in plot.means.items() if key[0] == variant]

    def room(place: float) -> float:
        return min((abs(math.log(end / place)) for end in ends), default=0.0)

    return room(1 / LABEL) > room(LABEL)


def _reference(axes: Axes, plot: Plot, name: str, reference: LossCurves) -> None:
    """Other people's curves, without colour and as far as the runs' epochs go; they stretch no axis."""
    shown = [place for place, epoch in enumerate(reference.epochs) if epoch <= plot.epochs]
    epochs = [reference.epochs[place] for place in shown]
    for losses, style in ((reference.train, "--"), (reference.val, "-")):
        axes.plot(epochs, losses[shown], color=svg.QUIET, linestyle=style, linewidth=1.2)
    if not shown:
        return
    end, last = epochs[-1], float(reference.val[shown[-1]])
    beside = end < plot.epochs / 2  # where the curve ends early there is room for its name behind it
    # Else above the part of the curve that the name is about as long as.
    height = last if beside else float(reference.val[shown[-math.ceil(len(shown) / 3) :]].max())
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


def _mean(axes: Axes, drawn: Line, colour: str, style: str, width: float) -> None:
    axes.fill_between(drawn.epochs, drawn.low, drawn.high, color=colour, alpha=0.16, linewidth=0)
    axes.plot(drawn.epochs, drawn.mean, color=colour, linestyle=style, linewidth=width)


def _stray(axes: Axes, drawn: Line, colour: str, ceiling: float) -> None:
    """A diverged run: a thin line that ends in a cross."""
    axes.plot(drawn.epochs, drawn.mean, color=colour, linewidth=1)
    end = (drawn.epochs[-1], min(float(drawn.mean[-1]), ceiling))
    (cross,) = axes.plot(*end, marker="x", color=colour, markersize=7, markeredgewidth=2, clip_on=False)
    cross.set_in_layout(False)  # else this panel would be drawn smaller than its neighbours


def _leaving(plot: Plot, variant: str) -> tuple[str, ...]:
    """What the panel cannot show: a sentence for each learning rate whose loss leaves the axis."""
    if not any(key[0] == variant for key in (*plot.means, *plot.strays)):
        return ("No run of this variant has a curve.",)
    sentences = []
    for rate in plot.rates:
        drawn = [item for key, item in plot.means.items() if key[:2] == (variant, rate)]
        drawn += [item for key, group in plot.strays.items() if key[:2] == (variant, rate) for item in group]
        peak = max((float(item.high.max()) for item in drawn), default=0.0)
        if peak > LEAVES * plot.axis.high:
            sentences.append(f"At {wording.rate(rate)} the loss reaches {peak:.3g}, above the axis.")
    return tuple(sentences)
