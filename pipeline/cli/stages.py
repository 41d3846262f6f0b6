"""The commands that dvc.yaml runs as stages, except `report`."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import click

from pipeline.cli.completion import complete_runs
from pipeline.runtime.shutdown import check_signals, defer_signals, exit_on_sigterm
from pipeline.wording import pluralize


@click.command()
def prepare() -> None:
    """Stage: prepare images and masks for training; writes data/prepared/."""
    from pipeline.artifacts.prepared_data import PreparedData
    from pipeline.artifacts.project import PREPARED, Project
    from pipeline.params.file import read_params
    from pipeline.prepare.prepare_data import prepare as stage
    from pipeline.runtime.process import terminate_with_dvc
    from pipeline.runtime.stage_status import record_stage

    exit_on_sigterm()
    terminate_with_dvc()
    with record_stage("prepare"):
        data = stage(read_params())
    click.echo(f"{PREPARED}: classes {', '.join(data.class_names)}; fingerprint {data.fingerprint[:12]}")
    for notice in Project().prepared.stats.notices:
        click.echo(f"Notice: {notice}")
    with (PREPARED / PreparedData.SKIPPED).open(encoding="utf-8", newline="") as file:
        if num_skipped := sum(1 for _ in csv.DictReader(file)):
            skipped = pluralize(num_skipped, "image was skipped", "images were skipped")
            click.echo(f"{skipped}; see {PREPARED / PreparedData.SKIPPED} for the reasons")


@click.command()
@click.option("--variant", required=True, help="Name of a variant in params.yaml.")
@click.option("--learning-rate", required=True, type=float, help="Learning rate, such as 1e-3.")
@click.option("--seed", required=True, type=int, help="Seed of initialization, image order and augmentation.")
def train(variant: str, learning_rate: float, seed: int) -> None:
    """Stage: train one cell of the grid; writes runs/<run>/.

    An interrupted run resumes after its last epoch. A run that diverges is recorded as a result, with exit code 0.
    """
    from pipeline.params.file import read_params
    from pipeline.runtime.process import terminate_with_dvc
    from pipeline.runtime.progress import EpochProgress, TrainingProgress
    from pipeline.runtime.stage_status import record_stage

    # Before the following imports, which take seconds.
    defer_signals()
    terminate_with_dvc()

    from pipeline.train.train_cell import train_and_log
    from pipeline.variants.model_checks import check_models

    check_signals()
    found = read_params()
    cell = found.cell(variant, learning_rate, seed)
    with record_stage("train", cell.name) as say, TrainingProgress(runs=1) as progress:
        check_models(found, [variant])

        def listen(report: EpochProgress) -> None:
            progress.show_epoch(report)
            say(report.describe())
            check_signals()

        record = train_and_log(found, cell, listen=listen)
    click.echo(record.describe_end())


@click.command()
@click.argument("run", shell_complete=complete_runs)
def evaluate(run: str) -> None:
    """Stage: score a trained RUN; writes evaluation/<run>/."""
    from pipeline.params.file import read_params
    from pipeline.runtime.process import terminate_with_dvc
    from pipeline.runtime.stage_status import record_stage

    defer_signals()
    terminate_with_dvc()

    from pipeline.evaluate.evaluate_run import evaluate_run

    check_signals()
    with record_stage("evaluate", run):
        found = evaluate_run(read_params(), run)
    if found.validation is None or found.gap is None:
        click.echo(f"{run}: diverged in its first epoch, so there are no scores")
    else:
        click.echo(f"{run}: validation loss {found.validation.loss:.3f} nats per pixel, gap {found.gap:+.3f}")


@click.command()
def compare() -> None:
    """Stage: judge the runs and rank the settings of the grid; writes comparison/."""
    from pipeline.compare.compare_runs import compare as stage
    from pipeline.params.file import read_params
    from pipeline.runtime.process import DVC_STAGE
    from pipeline.runtime.stage_status import record_stage
    from pipeline.sweep.outside_grid import move_outside_grid
    from pipeline.tracking.sync import sync_after_stage, sync_comparison

    with record_stage("compare"):
        found = read_params()
        # Before the comparison, because DVC hashes the dependencies of a stage after its command has run.
        move_outside_grid([cell.name for cell in found.cells()])
        if DVC_STAGE in os.environ:  # `dvc repro` has appended the stages that it ran to dvc.lock
            from pipeline.sweep.dvc_internals.stages import DvcStages

            DvcStages(Path()).update_lock()
        summary = stage(found)
    best = summary.best
    click.echo(f"best setting: {best.setting}" if best else "no setting could be ranked")
    defer_signals()
    sync_after_stage(sync_comparison, found)
    check_signals()


@click.command()
def showcase() -> None:
    """Stage: segment the images of report.showcase; writes showcase_predictions/."""
    from pipeline.params.file import read_params
    from pipeline.runtime.stage_status import record_stage
    from pipeline.showcase.predict_showcase import predict_showcase

    with record_stage("showcase"):
        found = predict_showcase(read_params())
    for image in found.images:
        score = "" if image.iou is None else f", IoU {image.iou:.3f}"
        click.echo(f"{image.file}: segmented by {found.run}{score}")


@click.command()
def ensemble() -> None:
    """Stage: score the ensemble of the best setting's runs; writes ensemble/."""
    from pipeline.ensemble.evaluate_ensemble import evaluate_ensemble
    from pipeline.params.file import read_params
    from pipeline.runtime.stage_status import record_stage

    exit_on_sigterm()
    with record_stage("ensemble"):
        found = evaluate_ensemble(read_params())
    if found.reason:
        click.echo(found.reason)
    elif found.temperature.reason:
        click.echo(found.temperature.reason)
    else:
        click.echo(f"ensemble of {len(found.members)} runs: temperature {found.temperature.value:g}")
    for split in found.images:
        loss = found.find_score(split, "loss")
        if loss is not None and loss.ensemble is not None and loss.members_mean is not None:
            click.echo(
                f"ensemble of {len(found.members)} runs: {split} loss {loss.ensemble:.3f} nats per pixel, mean of its "
                f"members {loss.members_mean:.3f}"
            )
