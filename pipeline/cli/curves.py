"""The commands `judge`, for verdicts on loss curves from any tool, and `lr-find`, for learning rates to try."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import click

from pipeline.cli.exit_codes import CONDITION_HOLDS
from pipeline.cli.json_output import json_option, print_json
from pipeline.lr_find import HIGHEST, LOWEST, STEPS
from pipeline.runtime.shutdown import exit_on_sigterm
from pipeline.wording import suggest_closest

BASELINE = (
    "Loss when always predicting the class frequencies. Without it, a run counts as underfitting only if its training "
    "loss barely decreases."
)
FAIL_ON = (
    "Exit with code 3 if a run has one of these verdicts, such as overfitting,diverged. Verdicts: learning, "
    "memorizing, overfitting, underfitting, diverged, undecided."
)
WATCH = (
    "Print a line for every new epoch and every change of a verdict, until Ctrl-C or a verdict of --fail-on. The file "
    "does not have to exist yet."
)


class FigurePath(click.Path):
    """Path of a figure to write."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """Convert the value to a path, and check its suffix."""
        path = Path(value)
        if path.suffix.lower() not in (".png", ".svg", ".pdf"):
            self.fail(f"unknown figure format '{path.suffix}'; use .png, .svg or .pdf.", param, ctx)
        return path


class FiniteRange(click.FloatRange):
    """Range of numbers that excludes NaN and infinity."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Convert the value, and check that it is finite."""
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number.", param, ctx)
        return number


class VerdictList(click.ParamType[tuple[str, ...]]):
    """Comma-separated verdicts."""

    name = "verdicts"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        """Split the value, and check every word."""
        from pipeline.judge.verdicts import VERDICTS

        words = tuple(word.strip().lower() for word in value.split(",")) if isinstance(value, str) else tuple(value)
        for word in words:
            if word not in VERDICTS:
                self.fail(f"unknown verdict '{word}'; {suggest_closest(word, VERDICTS)}", param, ctx)
        return words


@click.command()
@click.argument("curves", type=click.Path(path_type=Path))
@click.option("--baseline", type=FiniteRange(min=0, min_open=True), metavar="LOSS", help=BASELINE)
@json_option
@click.option("--plot", type=FigurePath(), metavar="FILE", help="Draw the curves to a .png, .svg or .pdf file.")
@click.option("--fail-on", type=VerdictList(), default=(), metavar="VERDICTS", help=FAIL_ON)
@click.option("--watch", "is_watching", is_flag=True, help=WATCH)
def judge(
    curves: Path,
    baseline: float | None,
    as_json: bool,
    plot: Path | None,
    fail_on: tuple[str, ...],
    is_watching: bool,
) -> None:
    """Judge from loss curves whether a network learned or memorized.

    CURVES is a file or folder with the training and validation losses of one or several runs. Its format is recognized
    by its content:

    \b
    - a table (CSV, TSV, Excel) or JSON records with epoch, train_loss and
      val_loss, and optionally run
    - Keras (CSVLogger, History), Lightning (metrics.csv), fastai (history.csv)
    - TensorBoard (event files, or a folder of them)
    - MLflow (key, value, step), DVCLive (plots/metrics),
      Weights & Biases (charts exported as CSV, run.history())
    - Hugging Face (trainer_state.json), skorch (history.json)
    - nnU-Net (training_log_*.txt, or the folder of a fold),
      Ultralytics (results.csv), cellpose (run.log, *_train_losses.npy)

    docs/explanation/gaps-and-verdicts.md explains the verdicts.

    Exit codes: 0 if CURVES was judged, 1 if it cannot be read or judged, 2 for an invalid command line, such as a file
    that does not exist, and 3 if a run has one of the verdicts of --fail-on.
    """  # noqa: D301 - click needs the character
    from pipeline.judge.verdicts import find_failing, format_json, format_text, judge_file

    if is_watching:
        if plot:
            raise click.UsageError("--plot cannot be combined with --watch. Draw the curves when the run is complete.")
        _watch(curves, baseline, fail_on, as_json)
        return
    if not curves.exists():
        raise click.BadParameter(f"Path '{curves}' does not exist.", param_hint="'CURVES'")
    judged = judge_file(curves, baseline)
    if plot:
        from pipeline.judge.curve_plot import draw_curves

        draw_curves(judged, baseline, plot)
    click.echo(format_json(judged) if as_json else format_text(judged))
    _exit_on_failing(find_failing(judged, fail_on))


def _watch(curves: Path, baseline: float | None, fail_on: tuple[str, ...], as_json: bool) -> None:
    """Print a line for every new epoch, until Ctrl-C or a verdict of --fail-on."""
    from pipeline.judge.watch import watch

    exit_on_sigterm()
    try:
        failing = watch(curves, baseline, fail_on, as_json, click.echo, lambda text: click.echo(text, err=True))
    except KeyboardInterrupt:
        return  # the usual end
    _exit_on_failing(failing)


def _exit_on_failing(failing: list[str]) -> None:
    """Name the runs that have a verdict of --fail-on, and exit with code 3 if there are any."""
    for text in failing:
        click.echo(f"Failed: {text}", err=True)
    if failing:
        raise SystemExit(CONDITION_HOLDS)


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
