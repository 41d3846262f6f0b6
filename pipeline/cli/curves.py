"""The commands `judge`, for verdicts on loss curves from any tool, and `lr-find`, for learning rates to try."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from pipeline.cli.json_output import json_option, print_json
from pipeline.lr_find import HIGHEST, LOWEST, STEPS
from pipeline.runtime.shutdown import exit_on_sigterm

BASELINE = (
    "Loss when always predicting the class frequencies. Without it, a run counts as underfitting only if its training "
    "loss barely decreases."
)


class FigurePath(click.Path):
    """Path of a figure to write."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """Convert the value to a path, and check its suffix."""
        path = Path(value)
        if path.suffix.lower() not in (".png", ".svg", ".pdf"):
            self.fail(f"unknown figure format '{path.suffix}'; use .png, .svg or .pdf.", param, ctx)
        return path


@click.command()
@click.argument("curves", type=click.Path(exists=True, path_type=Path))
@click.option("--baseline", type=click.FloatRange(min=0, min_open=True), metavar="LOSS", help=BASELINE)
@json_option
@click.option("--plot", type=FigurePath(), metavar="FILE", help="Draw the curves to a .png, .svg or .pdf file.")
def judge(curves: Path, baseline: float | None, as_json: bool, plot: Path | None) -> None:
    """Judge from loss curves whether a network learned or memorized.

    CURVES is a table with the columns epoch, train_loss, val_loss and optionally run; a table written by Keras
    (CSVLogger), Lightning (metrics.csv) or MLflow (key, value, step); or DVCLive's folder plots/metrics.
    docs/explanation/gaps-and-verdicts.md explains the verdicts.
    """
    from pipeline.judge.verdicts import format_json, format_text, judge_file

    judged = judge_file(curves, baseline)
    if plot:
        from pipeline.judge.curve_plot import draw_curves

        draw_curves(judged, baseline, plot)
    click.echo(format_json(judged) if as_json else format_text(judged))


@click.command(
    help=f"""Suggest learning rates for the grid.

    Trains one variant on {STEPS} batches of the prepared data, with a learning rate that increases from
    {LOWEST:g} to {HIGHEST:g}. The trained network is discarded. The suggestion is a starting point; the grid
    decides which learning rate is best.
    """
)
@click.option("--variant", metavar="NAME", help="Name of a variant in params.yaml.  [default: the grid's first]")
@click.option("--plot", type=FigurePath(), metavar="FILE", help="Draw the loss to a .png, .svg or .pdf file.")
@json_option
def lr_find(variant: str | None, plot: Path | None, as_json: bool) -> None:
    """Run the learning rate range test."""
    from pipeline.lr_find.find import find_learning_rates
    from pipeline.params.file import read_params

    exit_on_sigterm()
    found = read_params()
    rates = find_learning_rates(found, variant or found.grid.variant[0], plot)
    print_json(rates) if as_json else click.echo(rates.describe())
