"""Runs a range test for a person: progress, a sentence, a picture."""

from __future__ import annotations

import math
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from pipeline.lr_find.rates import STEPS
from pipeline.lr_find.suggestion import suggest
from pipeline.lr_find.training import range_test
from pipeline.params import Params
from pipeline.variants.check import check_models


def lr_find(params: Params, variant: str, plot: Path | None, root: Path) -> str:
    """What to write into the grid for a variant, or why nothing can be suggested.

    Args:
        params: the whole of `params.yaml`.
        variant: one of its variants.
        plot: where to draw the curve; None for nowhere.
        root: the project's folder.

    Raises:
        PipelineError: The variant is unknown or its network cannot be built, or nothing is prepared.
    """
    cell = params.cell(variant, params.grid.learning_rate[0], params.grid.seed[0])
    check_models(params, [variant])
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[now]}"))
    with Progress(*columns, console=console, disable=not console.is_terminal) as bars:
        task = bars.add_task(variant, total=STEPS, now="")

        def listen(step: int, rate: float, loss: float) -> None:
            bars.update(task, completed=step, now=f"rate {rate:.0e}  loss {loss:.3f}")
            if not console.is_terminal and step % 40 == 0:
                click.echo(f"{variant}: rate {rate:.0e}  loss {loss:.3f}", err=True)

        test = range_test(cell, root, listen)
    found = suggest(test)
    if plot:
        from pipeline.lr_find.plot import draw

        draw(test, found, variant, plot)
    if found is None:
        return (
            f"{variant}: the loss did not fall at any rate up to {test.rates[-1]:.0e}, so nothing can be suggested. "
            "Look at the curve (--plot FILE), the data and the network."
        )
    rates = ", ".join(f"1e{round(math.log10(rate))}" for rate in found.grid)
    return f"{variant}: half of the loss's fall was done at a rate of {found.halfway:.1e}; try learning_rate: [{rates}]"
