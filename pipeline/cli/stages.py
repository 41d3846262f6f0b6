"""The stages, as dvc.yaml calls them, and what makes them ready."""

from __future__ import annotations

import contextlib
import csv
import json
import os
from pathlib import Path

import click

from pipeline.errors import PipelineError


@click.command()
@click.option("--schema", is_flag=True, help="Print the JSON schema of params.yaml instead.")
def params(schema: bool) -> None:
    """Check params.yaml and list the runs of its grid."""
    from pipeline.params import Params
    from pipeline.params.file import read_params
    from pipeline.variants.check import check_models

    if schema:
        click.echo(json.dumps(Params.model_json_schema(), indent=2))
        return
    found = read_params()
    check_models(found, found.grid.variant)
    for cell in found.cells():
        click.echo(cell.name)


@click.command()
def variants() -> None:
    """List the variants of params.yaml and what training them costs.

    MACs are the multiply-accumulates in convolutions and matrix products for one image of data.image_size.

    Step memory is what one training step at train.batch_size adds to a process: weights, gradients, two numbers per
    parameter for the optimizer (Adam's; SGD needs fewer), and the activations kept for the backward pass.

    Process memory is the peak resident memory of a whole training process, with PyTorch, MLflow, scratch space and
    evaluation. It is measured: each variant takes a few steps on blank images in a process of its own, for some
    seconds. Memory-mapped images come on top, in pages that the system reclaims when memory is short. With a GPU it is
    main memory only. docs/cluster.md has more.
    """
    from rich.console import Console
    from rich.progress import track as progress_bar

    from pipeline.params.file import read_params
    from pipeline.process_memory import measure_process
    from pipeline.variants.table import as_text, variant_rows

    found = read_params()
    console = Console(stderr=True)
    rows = progress_bar(
        variant_rows(found, Path(), measure_process),
        "Measuring each variant",
        total=len(found.variants),
        console=console,
        disable=not console.is_terminal,
        transient=True,
    )
    click.echo(as_text(list(rows)))


@click.command()
def prepare() -> None:
    """Stage: make images and masks ready in data/prepared/."""
    from pipeline.params.file import read_params
    from pipeline.prepare.stage import prepare as stage
    from pipeline.runs import PREPARED, REJECTED, Survey
    from pipeline.runtime.process import terminate_with_dvc
    from pipeline.runtime.shutdown import exit_on_sigterm
    from pipeline.runtime.stage_status import attempt

    exit_on_sigterm()
    terminate_with_dvc()
    with attempt("prepare"):
        data = stage(read_params())
    click.echo(f"{PREPARED}: classes {', '.join(item.name for item in data.classes)}; {data.fingerprint[:12]}")
    for notice in Survey.read().notices:
        click.echo(f"Notice: {notice}")
    with (PREPARED / REJECTED).open(encoding="utf-8", newline="") as file:
        if left_out := sum(1 for _ in csv.DictReader(file)):
            click.echo(f"left out: {left_out}; {PREPARED / REJECTED} says which and why")


@click.command()
@click.option("--variant", required=True, help="A name under variants: in params.yaml.")
@click.option("--learning-rate", required=True, type=float, help="Such as 1e-3.")
@click.option("--seed", required=True, type=int, help="Of initialisation, order and augmentation.")
def train(variant: str, learning_rate: float, seed: int) -> None:
    """Stage: train one cell of the grid into runs/<run>/; one that was stopped goes on from its last epoch.

    A run that diverges is a result like another: it is recorded, and the exit code is 0.
    """
    from pipeline.params.file import read_params
    from pipeline.runtime.process import terminate_with_dvc
    from pipeline.runtime.progress import EpochReport, TrainingProgress
    from pipeline.runtime.shutdown import check_signals, defer_signals
    from pipeline.runtime.stage_status import attempt

    # Before the imports that take seconds.
    defer_signals()
    terminate_with_dvc()

    from pipeline.tracking.background_logger import BackgroundLogger
    from pipeline.train.stage import train_cell
    from pipeline.variants.check import check_models

    check_signals()
    found = read_params()
    cell = found.cell(variant, learning_rate, seed)
    with attempt("train", cell.name) as say, TrainingProgress(runs=1) as progress:
        check_models(found, [variant])

        def listen(report: EpochReport) -> None:
            progress.epoch(report)
            say(report.sentence())
            check_signals()

        def complete() -> None:
            logger.finish(cell.name)
            logger.close()
            check_signals()  # before the checkpoints go: DVC sees a failed command, and trains again

        with BackgroundLogger(found) as logger:
            record = train_cell(cell, listen=listen, publish=logger.update, complete=complete)
    click.echo(record.sentence())


@click.command()
@click.argument("run")
def evaluate(run: str) -> None:
    """Stage: score a trained RUN, such as unet-0.001-0, into evaluation/<run>/."""
    from pipeline.params.file import read_params
    from pipeline.runtime.process import terminate_with_dvc
    from pipeline.runtime.shutdown import check_signals, defer_signals
    from pipeline.runtime.stage_status import attempt

    defer_signals()
    terminate_with_dvc()

    from pipeline.evaluate.stage import evaluate_run

    check_signals()
    with attempt("evaluate", run):
        found = evaluate_run(read_params(), run)
    if found.validation is None or found.gap is None:
        click.echo(f"{run}: diverged before its first epoch ended, so there is nothing to score")
    else:
        click.echo(f"{run}: validation loss {found.validation.loss:.3f} nats a pixel, gap {found.gap:+.3f}")


@click.command()
def compare() -> None:
    """Stage: rank the rates of the grid over their seeds, into comparison/."""
    from pipeline.compare.stage import compare as stage
    from pipeline.params.file import read_params
    from pipeline.runtime.process import DVC_STAGE
    from pipeline.runtime.shutdown import check_signals, defer_signals
    from pipeline.runtime.stage_status import attempt
    from pipeline.sweep.outside_grid import move_outside_grid
    from pipeline.tracking.sync import sync_after_stage, sync_comparison

    with attempt("compare"):
        found = read_params()
        # Before the comparison: DVC hashes the dependencies of a stage when its command has ended.
        move_outside_grid([cell.name for cell in found.cells()])
        if DVC_STAGE in os.environ:  # it has just appended the stages that it ran
            from pipeline.sweep.ledger import Ledger

            Ledger(Path()).tidy()
        summary = stage(found)
    best = summary.best
    click.echo(f"best: {best.variant} at {best.learning_rate:g}" if best else "no rate could be ranked")
    defer_signals()
    sync_after_stage(sync_comparison, found)
    check_signals()


@click.command()
def showcase() -> None:
    """Stage: cut the photographs of report.showcase out with the best run, into showcase/."""
    from pipeline.params.file import read_params
    from pipeline.runtime.stage_status import attempt
    from pipeline.showcase.stage import cut_out

    with attempt("showcase"):
        found = cut_out(read_params())
    for photograph in found.photographs:
        score = "" if photograph.iou is None else f", IoU {photograph.iou:.3f}"
        click.echo(f"{photograph.file}: cut out by {found.run}{score}")


@click.command()
@click.option("--runs", "selection", metavar="SELECTION", help="Which runs; see above.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Where to write the page.")
@click.option("--open", "show", is_flag=True, help="Show it in the browser.")
@click.option("--live", is_flag=True, help="With date, durations, git commit, and a link to MLflow.")
def report(selection: str | None, out: Path | None, show: bool, live: bool) -> None:
    """Render the learning report.

    Without options this is the stage that writes reports/learning-report.html. With --runs the page shows a part of the
    grid and goes to a file of its own in reports/. SELECTION is one of

    \b
      best                            the best run: the median seed of the setting with the lowest mean loss
      best:3                          the runs that stand for the three best rates
      all                             every run
      unet-0.001-0,lite0-*            names with commas between; * and ? stand for any characters, or one
      variant=unet,learning_rate<=1e-3,verdict!=learning
                                      comparisons that must all hold (in quotes: the shell means other things by <)
      mlflow:latest                   from MLflow, wherever tracking.uri is: the run that began last,
      mlflow:ID,ID                    runs by their ids,
      "mlflow:metrics.val_loss_best < 0.4"
                                      those that a filter of MLflow's finds, of each author the newest of each name

    Where several people's runs are on the server, its pages say who got what, and where you stand.
    """  # noqa: D301 - click reads the backspace as "leave these lines as they are"
    import webbrowser

    from pipeline.params.file import read_params
    from pipeline.report.stage import render_report
    from pipeline.runs import FAILURE
    from pipeline.runtime.stage_status import attempt

    is_stage = not (selection or out or show or live)
    with attempt("report") if is_stage else contextlib.nullcontext():
        source, _, wanted = (selection or "").partition(":")
        if source.strip().lower() == "mlflow":
            from pipeline.tracked_report import render_tracked

            page = render_tracked(read_params(), wanted, out, live=live)
        else:
            page = render_report(read_params(), selection, out, live=live)
        click.echo(page.path)
        for notice in page.notices:
            click.echo(f"Notice: {notice}", err=True)
        if show and not webbrowser.open(page.path.absolute().as_uri()):
            raise PipelineError(f"There is no browser here to show {page.path} in; copy it to where there is one.")
        if page.faults:
            lacking = "\n".join(f"{card.title}. {card.text}" for card in page.faults)
            raise PipelineError(f"The page was written, but says of itself what it lacks:\n{lacking}")
        if is_stage:
            FAILURE.unlink(missing_ok=True)
    if is_stage:
        from pipeline.runtime.shutdown import check_signals, defer_signals
        from pipeline.tracking.sync import sync_after_stage, sync_report

        defer_signals()
        sync_after_stage(sync_report, read_params())
        check_signals()


@click.command()
def failure() -> None:
    """Show what the last `make report` could not do.

    Renders reports/failure.html: what failed, its last lines, its parameters and the command for just that. Where all
    that failed are runs, the learning report of the others is rendered too.

    While another command is at work and nothing has failed, no page is written.
    """
    from pipeline.compare.stage import compare as compare_stage
    from pipeline.params.file import read_params
    from pipeline.report.failure import failed, render_failure
    from pipeline.report.stage import render_report
    from pipeline.runtime.stage_status import read_attempts

    found = page = None
    with contextlib.suppress(PipelineError):  # whatever cannot be read or made is what the page tells
        found = read_params()
        lost = failed(found, Path())
        if lost and all(one.run for one in lost):
            compare_stage(found, lost=lost)
            page = render_report(found).path
    running = [one.name for one in read_attempts() if one.state == "running"]
    if running and not failed(found, Path()):
        raise PipelineError(f"Nothing has failed so far; at work: {', '.join(running)}.")
    click.echo(render_failure(found, page))
