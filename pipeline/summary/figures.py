"""Figures of the results as matplotlib figures: loss curves by variant, and losses and gaps by setting."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Mapping
from functools import partial
from operator import attrgetter
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pipeline.analysis.ranked_metric import get_grid_metric, get_ranked_metric, rank_settings
from pipeline.artifacts.comparison import Comparison, RunSummary, Summary
from pipeline.atomic_io import write_with
from pipeline.report.figures.curve_data import aggregate_runs

if TYPE_CHECKING:
    import pandas as pd

MAX_PANELS = 6  # variants in the figure of loss curves, the best ones first
MAX_SETTINGS = 20
COLUMNS = 3
HEADROOM = 1.5  # end of the loss axis as a multiple of the baseline, so that a few high losses do not compress the rest
DPI = 110
QUIET = "#767676"


class SelfShowingFigure(Figure):
    """Figure that notebooks show even if pyplot is not imported."""

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png", dpi=DPI)
        return buffer.getvalue()


def write_figures(comparison: Comparison, folder: Path) -> list[tuple[str, Path]]:
    """Write all figures as PNG files; returns their titles and paths."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, title, plot in (
        ("loss-curves.png", "Loss curves", plot_loss_curves),
        ("settings.png", "Loss and gap by setting", plot_settings),
    ):
        write_with(folder / name, partial(plot(comparison).savefig, format="png", dpi=DPI))
        written.append((title, folder / name))
    return written


def plot_loss_curves(comparison: Comparison) -> SelfShowingFigure:
    """Plot training and validation loss by epoch, one panel per variant and one color per learning rate.

    Lines are means over seeds, up to the first one that ends, and bands are their range. Diverged runs are left out.
    """
    summary = comparison.summary
    complete = [row.run for row in summary.runs if row.is_complete]
    curves = comparison.curves[comparison.curves["run"].isin(complete)]
    variants = dict.fromkeys([*(best.variant for best in summary.best_of_variant), *curves["variant"]])
    shown = list(variants)[:MAX_PANELS] or ["no complete run"]
    columns = min(len(shown), COLUMNS)
    rows = math.ceil(len(shown) / columns)
    figure = SelfShowingFigure((4.2 * columns, 3.2 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).flat
    for axes, variant in zip(panels, shown, strict=False):
        axes.set_title(variant, loc="left", fontsize=11)
        axes.axhline(summary.baseline_loss, color=QUIET, linewidth=1, linestyle=":", label="class-prior baseline")
        _draw_variant(axes, curves[curves["variant"] == variant], choose_colors(summary))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.spines[["top", "right"]].set_visible(False)
    for axes in figure.axes[len(shown) :]:
        axes.remove()
    if len(curves):
        limit = HEADROOM * max(summary.baseline_loss, float(curves["loss"].median()))
        figure.axes[0].set_ylim(0, min(1.05 * float(curves["loss"].max()), limit))
    figure.axes[0].legend(frameon=False, fontsize=8)
    figure.supxlabel("epoch", fontsize=10)
    figure.supylabel("loss, nats per pixel", fontsize=10)
    figure.suptitle("Validation loss (solid) and training loss (dashed)", fontsize=11, x=0.01, ha="left")
    return figure


def _draw_variant(axes: Axes, curves: pd.DataFrame, colors: Mapping[float, str]) -> None:
    for rate, color in colors.items():
        for split, style in (("validation", "-"), ("train", "--")):
            rows = curves[(curves["learning_rate"] == rate) & (curves["split"] == split)]
            if len(rows):
                losses = aggregate_runs(rows)
                label = f"learning rate {rate:g}" if split == "validation" else None
                axes.plot(losses.index, losses["mean"], style, color=color, label=label)
                axes.fill_between(losses.index, losses["min"], losses["max"], color=color, alpha=0.15, linewidth=0)


def plot_settings(comparison: Comparison) -> SelfShowingFigure:
    """Plot the validation loss and the gap of every complete run, one row per setting, the best setting on top.

    If settings are ranked by another metric, it has a panel as well. A dot is a run, and a bar the mean over the seeds.
    """
    summary = comparison.summary
    metric = get_ranked_metric(summary)
    others = [row for row in summary.settings if row.val_loss_mean is not None and not row.ranked]
    others.sort(key=lambda row: row.val_loss_mean or 0.0)
    shown = [*rank_settings(summary.settings, metric), *others][:MAX_SETTINGS]
    loss = get_grid_metric(summary, "val_loss")
    contents: dict[str, Callable[[RunSummary], float | None]] = {
        **{one.title_with_unit: partial(RunSummary.get_metric, name=one.name) for one in (metric, loss)},
        "gap: validation minus training": attrgetter("gap"),
    }
    figure = SelfShowingFigure((4.2 * len(contents), 1.2 + 0.3 * max(len(shown), 1)), layout="constrained")
    colors = choose_colors(summary)
    panels = figure.subplots(1, len(contents), sharey=True)
    for axes, (title, get) in zip(panels, contents.items(), strict=True):
        for place, setting in enumerate(shown):
            found = [get(row) for row in summary.list_runs(setting) if row.is_complete]
            values = [value for value in found if value is not None]
            color = colors[setting.learning_rate]
            axes.plot(values, [place] * len(values), "o", color=color, alpha=0.5, markeredgewidth=0)
            if values:
                axes.plot(fmean(values), place, "|", color=color, markersize=14, markeredgewidth=2.5)
        axes.set_xlabel(title, fontsize=10)
        axes.grid(axis="x", alpha=0.3)
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.tick_params(axis="y", length=0)
    panels[-1].axvline(0, color=QUIET, linewidth=1)
    panels[0].set_yticks(range(len(shown)), [str(row.setting) for row in shown])
    for label in panels[0].get_yticklabels():
        label.set_parse_math(False)  # names of variants are not formulas
    panels[0].set_ylim(max(len(shown), 1) - 0.4, -0.6)  # the best setting is on top
    return figure


def choose_colors(summary: Summary) -> dict[float, str]:
    """Choose a color for each learning rate, highest first; the lightness increases evenly, without yellow."""
    rates = sorted({row.learning_rate for row in summary.runs}, reverse=True)
    positions = np.linspace(0.02, 0.75, len(rates)) if len(rates) > 1 else [0.3]
    return {rate: to_hex(colormaps["plasma"](position)) for rate, position in zip(rates, positions, strict=True)}
