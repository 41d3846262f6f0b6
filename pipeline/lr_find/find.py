"""Run a range test with progress, a suggestion in words, and a plot."""

from __future__ import annotations

import io
import math
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from pipeline.artifacts.project import Project
from pipeline.atomic_io import write_bytes
from pipeline.lr_find import STEPS
from pipeline.lr_find.range_test import run_range_test
from pipeline.lr_find.suggestion import RangeTest, Suggestion, suggest_grid
from pipeline.params import Params
from pipeline.variants.model_checks import check_models


def find_learning_rates(params: Params, variant: str, plot: Path | None) -> str:
    """Suggest learning rates for a variant, and plot the curve.

    Returns:
        A sentence with the suggestion, or with the reason why there is none.

    Raises:
        PipelineError: The variant is unknown, its network cannot be built, or the data are not prepared.
    """
    cell = params.cell(variant, params.grid.learning_rate[0], params.grid.seed[0])
    check_models(params, [variant])
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[now]}"))
    with Progress(*columns, console=console, disable=not console.is_terminal) as bars:
        task = bars.add_task(variant, total=STEPS, now="")

        def show_progress(step: int, learning_rate: float, loss: float) -> None:
            bars.update(task, completed=step, now=f"learning rate {learning_rate:.0e}  loss {loss:.3f}")
            if not console.is_terminal and step % 40 == 0:
                click.echo(f"{variant}: learning rate {learning_rate:.0e}  loss {loss:.3f}", err=True)

        test = run_range_test(cell, Project(), show_progress)
    found = suggest_grid(test)
    if plot:
        _draw_loss(test, found, variant, plot)
    if found is None:
        return (
            f"{variant}: the loss did not decrease at any learning rate up to {test.learning_rates[-1]:.0e}, so there "
            "is no suggestion. Check the curve (--plot FILE), the data and the network."
        )
    rates = ", ".join(f"1e{round(math.log10(rate))}" for rate in found.grid)
    return f"{variant}: half of the decrease in loss was reached at {found.halfway:.1e}; try learning_rate: [{rates}]"


def _draw_loss(test: RangeTest, found: Suggestion | None, variant: str, path: Path) -> None:
    """Draw the losses over the learning rates, with the suggested grid."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4), layout="constrained")
    axes = figure.subplots()
    axes.set_xscale("log")
    axes.plot(test.learning_rates, test.losses, color="#b0b0b0", linewidth=1, label="batch")
    if found:
        axes.plot(test.learning_rates[: len(found.smoothed)], found.smoothed, color="#0072b2", label="running mean")
        for place, rate in enumerate(found.grid):
            axes.axvline(rate, color="#d55e00", linestyle=":", label=None if place else "suggested grid")
        shown = test.losses[: len(found.smoothed)]
        axes.set_ylim(0.9 * float(shown.min()), 1.3 * float(found.smoothed.max()))
    axes.set_title(f"{variant}: training with an increasing learning rate", loc="left", fontsize=11)
    axes.set_xlabel("learning rate")
    axes.set_ylabel("training loss")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    content = io.BytesIO()
    figure.savefig(content, format=path.suffix[1:], dpi=150)
    write_bytes(path, content.getbuffer())
