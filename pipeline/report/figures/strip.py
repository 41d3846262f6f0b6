"""The distribution of results: a row an author, a dot a run, a diamond where the best setting's mean lies."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from markupsafe import Markup
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from pipeline.analysis.authors import Author
from pipeline.report.figures import svg
from pipeline.report.figures.lines import LOG_FROM

WIDTH, ROW, MARGIN = 7.0, 0.3, 0.75  # inches
HEADROOM = 1.5  # times the baseline: what is worse stands at the edge and squashes nothing


def strip(authors: Sequence[Author], mine: str, baseline: float, root: Path) -> Markup:
    """Draw the authors from the top on, `mine` in ink; `baseline` is the loss of the class shares alone."""
    losses = [loss for author in authors for loss in author.losses]
    low, high = min(losses), max(*losses, baseline) * 1.05
    if baseline > 0:  # 0 where all pixels are of one class
        high = min(high, HEADROOM * baseline)
    with svg.styled(root):
        figure = Figure((WIDTH, MARGIN + ROW * len(authors)), layout="constrained")
        axes = figure.add_subplot()
        if high / low > LOG_FROM:
            axes.set_xscale("log")
            axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.xaxis.set_minor_formatter(NullFormatter())
            axes.set_xlim(0.9 * low, high)
        else:
            axes.set_xlim(low - 0.04 * (high - low), high)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.axvline(baseline, color=svg.QUIET, linewidth=1)
        axes.annotate(
            "class shares alone",
            (baseline, 1),
            (-4, 0),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            ha="right",
            va="top",
            color=svg.QUIET,
            fontsize=10,
        )
        for place, author in enumerate(authors):
            colour = svg.INK if author.name == mine else svg.QUIET
            shown = [loss for loss in author.losses if loss <= high]
            axes.plot(shown, [place] * len(shown), "o", color=colour, alpha=0.45, markersize=5, markeredgewidth=0)
            if len(shown) < len(author.losses):
                axes.plot(high, place, ">", color=colour, markersize=6, clip_on=False)
            if author.best is not None and author.best.val_loss <= high:
                axes.plot(author.best.val_loss, place, "D", color=colour, markersize=7)
        axes.set_yticks(range(len(authors)), [author.name for author in authors])
        for label, author in zip(axes.get_yticklabels(), authors, strict=True):
            label.set_fontweight("bold" if author.name == mine else "normal")
        axes.set_ylim(len(authors) - 0.4, -1.1)  # the first on top, room above it for the baseline's name
        axes.set_xlabel("validation loss, nats a pixel", loc="right")
        return svg.inline(figure, "authors")
