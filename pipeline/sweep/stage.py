"""A sweep: the stale cells of the grid side by side in warm workers, and what finished handed to DVC."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import click

from pipeline.errors import PipelineError
from pipeline.params import Params
from pipeline.params.file import read_params
from pipeline.params.run_selection import chosen_runs
from pipeline.runtime.progress import EpochReport, TrainingProgress
from pipeline.runtime.shutdown import check_signals, graceful_interrupt
from pipeline.runtime.stage_status import forget_attempt
from pipeline.sweep.alone import alone
from pipeline.sweep.cluster import run_on_cluster
from pipeline.sweep.gpus import gpus
from pipeline.sweep.journal import Journal
from pipeline.sweep.ledger import Ledger
from pipeline.sweep.lock_merge import MergedLock
from pipeline.sweep.outside_grid import move_outside_grid
from pipeline.sweep.pool import run_jobs
from pipeline.sweep.recorder import Recorder
from pipeline.sweep.summary import summary
from pipeline.sweep.worker import Job, Outcome
from pipeline.tracking.background_logger import BackgroundLogger
from pipeline.tracking.run_metrics import TrainingState
from pipeline.train.key import is_current
from pipeline.variants.check import check_models

STOPPED = 130  # exit code, as a shell's for what Ctrl-C ended


@dataclass(frozen=True)
class Plan:
    """What is to do."""

    jobs: list[Job]
    restored: list[str]  # runs that DVC's cache gave something of
    current: int  # runs that are up to date


def sweep(params: Params, jobs: int | None, targets: tuple[str, ...], ray: str | None, root: Path) -> int:
    """Train and evaluate what is stale; afterwards `dvc status` names no cell.

    Args:
        params: the whole of `params.yaml`.
        jobs: trainings at once; None for cores / `train.threads`, or for the number of GPUs.
        targets: which runs, by name or pattern; empty for all.
        ray: the address of a Ray cluster to run on; None for this machine.
        root: the project's folder, or a study's.

    Returns:
        The exit code: 1 where a cell failed or could not be recorded, 130 where somebody stopped the sweep, else 0.

    Raises:
        PipelineError: A network cannot be built, a target fits no run, another sweep is at work, or the cluster cannot
            be used; nothing was trained.
    """
    chosen = chosen_runs([cell.name for cell in params.cells()], targets)
    with alone(root), contextlib.ExitStack() as stack:
        ledger, journal = Ledger(root), Journal(root)
        stack.enter_context(ledger.reserved(chosen if targets else None))
        move_outside_grid([cell.name for cell in params.cells()], root)
        merged = ledger.resolve_conflict()
        ledger.make("prepare")
        if merged:
            _recover(merged, params, chosen, ledger, root)
        plan = _plan(params, chosen, ledger, journal, root)
        check_signals()
        check_models(params, [job.cell.variant for job in plan.jobs if job.train])
        check_signals()
        at_once = min(jobs or _default_jobs(plan.jobs), len(plan.jobs))
        if plan.jobs:
            runs_to_do = "1 run" if len(plan.jobs) == 1 else f"{len(plan.jobs)} runs"
            click.echo(f"{runs_to_do} to do, " + ("on a Ray cluster" if ray else f"{at_once} at a time"))
        recorder, outcomes = Recorder(ledger, journal), list[Outcome]()
        unrecorded: PipelineError | None = None
        logger = stack.enter_context(BackgroundLogger(params, root, log_system_metrics=not ray))
        try:
            with TrainingProgress(runs=len(plan.jobs)) as progress, _stopping() as stopping:

                def listen(message: EpochReport | TrainingState) -> None:
                    if isinstance(message, TrainingState):
                        logger.update(message)
                    else:
                        progress.epoch(message)

                if ray and plan.jobs:
                    ended = run_on_cluster(params, plan.jobs, ray, root, listen, stopping)
                else:
                    ended = run_jobs(params, plan.jobs, at_once, root, listen, stopping)
                with contextlib.closing(ended):  # before what follows, also on the way out
                    for outcome in ended:
                        name = outcome.job.cell.name
                        if outcome.trained or outcome.evaluated:
                            logger.finish(name)
                        logger.kill(name)  # if its process ended without an error
                        progress.end(name, _ending(outcome))
                        outcomes.append(outcome)
                        recorder.add(outcome)
        finally:  # also after the second Ctrl-C: what finished is kept
            logger.kill_all()
            try:
                recorder.close()
            except PipelineError as error:
                unrecorded = error
    outcomes.sort(key=lambda outcome: chosen.index(outcome.job.cell.name))
    begun = {outcome.job.cell.name for outcome in outcomes}
    left = [job.cell.name for job in plan.jobs if job.cell.name not in begun]
    click.echo(summary(outcomes, plan.restored, left, plan.current, recorder.refused, root))
    if unrecorded:
        raise unrecorded
    if left or any(outcome.end == "stopped" for outcome in outcomes):
        return STOPPED
    return 1 if recorder.refused or any(outcome.end == "failed" for outcome in outcomes) else 0


def _recover(merged: MergedLock, params: Params, chosen: list[str], ledger: Ledger, root: Path) -> None:
    """Find the trainings of both sides of a merge, and report the merge."""
    cells = {cell.name: cell for cell in params.cells()}
    recognized = ledger.recognize(merged.trained, lambda name: name in cells and is_current(cells[name], root))
    fetched = list[str]()
    try:
        fetched = ledger.fetch(chosen)
    except PipelineError as error:
        click.echo(f"not fetched from DVC's remote, so trained again: {error}", err=True)
    click.echo(merged.describe(len(recognized), len(fetched)), err=True)


def _plan(params: Params, chosen: list[str], ledger: Ledger, journal: Journal, root: Path) -> Plan:
    """What is left to do after the journal and DVC's run cache gave what they have."""
    # What a killed sweep finished, also of runs that are not chosen now; where parameters, data or code changed since,
    # the ledger leaves it out.
    if finished := journal.standing():
        ledger.record(finished)
    without_custom = [cell.name for cell in params.cells() if not cell.own_factories]
    train, evaluate = ledger.stale(chosen, without_custom)
    restored = ledger.restore("train", train)
    if restored:
        train, evaluate = ledger.stale(chosen)
    # An evaluation can be looked up only when its training is there.
    scored = ledger.restore("evaluate", [run for run in evaluate if run not in train])
    evaluate = [run for run in evaluate if run not in scored]
    made_from = ledger.made_from([*(f"train@{run}" for run in train), *(f"evaluate@{run}" for run in evaluate)])
    if read_params(root / "params.yaml") != params:  # what DVC has just looked at would pass for what is trained
        raise PipelineError("params.yaml was changed just now. Run the same command again.")
    jobs = [
        Job(cell, made_from.get(f"train@{cell.name}"), made_from.get(f"evaluate@{cell.name}"))
        for cell in params.cells()
        if cell.name in chosen
    ]
    for job in jobs:  # parameters or code may be again what they were before something failed
        for stage, stale in (("train", job.train), ("evaluate", job.train or job.evaluate)):
            if not stale:
                forget_attempt(stage, job.cell.name, root)
    to_do = [job for job in jobs if job.train or job.evaluate]
    given = dict.fromkeys([*restored, *scored])
    current = len(jobs) - len({job.cell.name for job in to_do} | given.keys())
    return Plan(to_do, list(given), current)


@contextlib.contextmanager
def _stopping() -> Iterator[Callable[[], bool]]:
    """Whether somebody pressed Ctrl-C, once; it is answered in a line."""
    with graceful_interrupt() as is_asked:
        told = False

        def stopping() -> bool:
            nonlocal told
            if is_asked() and not told:
                told = True
                click.echo("Stopping when the epochs under way have ended; Ctrl-C again stops now.", err=True)
            return told

        yield stopping


def _default_jobs(jobs: list[Job]) -> int:
    """As many trainings as there are GPUs; without any, as have a core for each of their threads."""
    return len(gpus()) or max(
        1, len(os.sched_getaffinity(0)) // max((job.cell.train.threads for job in jobs), default=1)
    )


def _ending(outcome: Outcome) -> str:
    return f"failed: {outcome.sentence}" if outcome.end == "failed" else outcome.sentence
