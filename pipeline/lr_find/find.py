"""Run a range test with progress, a suggestion in words, and a plot."""

from __future__ import annotations

import math
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from pipeline.artifacts.project import Project
from pipeline.lr_find import STEPS
from pipeline.lr_find.range_test import run_range_test
from pipeline.lr_find.suggestion import suggest_grid
from pipeline.params import Params
from pipeline.variants.model_checks import check_models


def find_learning_rates(params: Params, variant: str, plot: Path | None, root: Path) -> str:
    """Suggest learning rates for a variant.

    Args:
        params: All parameters.
        variant: Name of the variant.
        plot: File for a plot of the curve, if any.
        root: Folder of the project.

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

        test = run_range_test(cell, Project(root), show_progress)
    found = suggest_grid(test)
    if plot:
        from pipeline.lr_find.loss_plot import draw_loss

        draw_loss(test, found, variant, plot)
    if found is None:
        return (
            f"{variant}: the loss did not decrease at any learning rate up to {test.learning_rates[-1]:.0e}, so there "
            "is no suggestion. Check the curve (--plot FILE), the data and the network."
        )
    rates = ", ".join(f"1e{round(math.log10(rate))}" for rate in found.grid)
    return f"{variant}: half of the decrease in loss was reached at {found.halfway:.1e}; try learning_rate: [{rates}]"
