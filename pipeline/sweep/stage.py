"""A sweep: the stale cells of the grid side by side in warm workers, and what finished handed to DVC."""

from __future__ import annotations

import os
from pathlib import Path

import click

from pipeline.attempts import forget_attempt
from pipeline.errors import PipelineError
from pipeline.params import Params
from pipeline.progress import TrainingProgress
from pipeline.project import inside
from pipeline.sweep.ledger import Ledger
from pipeline.sweep.pool import run_jobs
from pipeline.sweep.worker import Job, Outcome
from pipeline.variants.check import check_models

# Cells recorded at once. A write costs DVC the whole lock file; a machine that loses power loses at most these.
BATCH = 8


class Recorder:
    """Hands finished cells to DVC in batches, and remembers what could not be recorded."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._finished: list[Outcome] = []
        self.changed: list[str] = []

    def add(self, outcome: Outcome) -> None:
        """Take in an outcome; records when a batch is full. Where DVC is busy, the next one tries again."""
        self._finished.append(outcome)
        if len(self._finished) >= BATCH:
            try:
                self.flush()
            except PipelineError as error:
                click.echo(f"not recorded yet: {error}", err=True)

    def flush(self) -> None:
        """Record what is finished; raises `PipelineError` where DVC cannot."""
        self.changed += self._ledger.record(
            [outcome.job.cell.name for outcome in self._finished if outcome.trained],
            [outcome.job.cell.name for outcome in self._finished if outcome.evaluated],
        )
        self._finished = []


def sweep(params: Params, jobs: int | None, root: Path) -> int:
    """Train and evaluate what is stale; afterwards `dvc status` names no cell.

    Args:
        params: the whole of `params.yaml`.
        jobs: trainings at once; None for cores / `train.threads`.
        root: the project's folder, or a study's.

    Returns:
        The exit code: 1 where a cell failed or could not be recorded, else 0.

    Raises:
        PipelineError: A network cannot be built; nothing was trained.
    """
    ledger = Ledger(root)
    ledger.reproduce("prepare")
    to_do, restored = _jobs(params, ledger, root)
    if restored:
        click.echo(f"{restored} runs restored from DVC's cache")
    if not to_do:
        click.echo("Every run of the grid is trained and evaluated.")
        return 0
    check_models(params, [job.cell.variant for job in to_do if job.train])
    ledger.begin([job.cell.name for job in to_do if job.train], [job.cell.name for job in to_do if job.evaluate])
    at_once = min(jobs or _default_jobs(to_do), len(to_do))
    click.echo(f"{len(to_do)} runs to do, {at_once} at a time")
    recorder, failed = Recorder(ledger), list[Outcome]()
    try:
        with TrainingProgress(runs=len(to_do)) as progress:
            for outcome in run_jobs(params, to_do, at_once, root, progress.epoch):
                progress.end(
                    outcome.job.cell.name, f"failed: {outcome.sentence}" if outcome.failed else outcome.sentence
                )
                recorder.add(outcome)
                if outcome.failed:
                    failed.append(outcome)
    finally:  # also on Ctrl-C: what finished is kept
        recorder.flush()
    _tell(failed, recorder.changed, root)
    return 1 if failed or recorder.changed else 0


def _jobs(params: Params, ledger: Ledger, root: Path) -> tuple[list[Job], int]:
    """What is left to do after DVC's run cache gave what it has, and how many runs it gave something of."""
    train, evaluate = ledger.stale()
    restored = ledger.restore("train", train)
    if restored:
        train, evaluate = ledger.stale()
    # An evaluation can be looked up only when its training is there.
    scored = ledger.restore("evaluate", [run for run in evaluate if run not in train])
    evaluate = [run for run in evaluate if run not in scored]
    jobs = [Job(cell, cell.name in train, cell.name in evaluate) for cell in params.cells()]
    for job in jobs:  # parameters or code may be again what they were before something failed
        for stage, stale in (("train", job.train), ("evaluate", job.train or job.evaluate)):
            if not stale:
                forget_attempt(stage, job.cell.name, root)
    return [job for job in jobs if job.train or job.evaluate], len({*restored, *scored})


def _default_jobs(jobs: list[Job]) -> int:
    """As many trainings as have a core for each of their threads."""
    return max(1, len(os.sched_getaffinity(0)) // max(job.cell.train.threads for job in jobs))


def _tell(failed: list[Outcome], changed: list[str], root: Path) -> None:
    for outcome in failed:
        name = outcome.job.cell.name
        step = "evaluate" if outcome.trained or not outcome.job.train else "train"
        alone = inside(root, f"dvc repro {step}@{name}")
        click.echo(f"{name} failed: {outcome.sentence}\n  to see it alone: {alone}", err=True)
    if changed:
        click.echo(
            f"Parameters, data or code changed while these ran, so they are not recorded: {', '.join(changed)}\n"
            "  run the same command again",
            err=True,
        )
