"""Train and evaluate the stale cells of the grid in parallel, and commit them to DVC."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from pipeline.artifacts.project import CACHE, Project
from pipeline.errors import PipelineError
from pipeline.params import Params
from pipeline.params.file import read_params
from pipeline.runtime.operating_system import count_cores
from pipeline.runtime.progress import TrainingProgress
from pipeline.runtime.shutdown import check_signals, graceful_interrupt
from pipeline.runtime.stage_status import clear_stage_status
from pipeline.runtime.training_state import TrainingState
from pipeline.runtime.work_lock import WorkLock, list_unfinished
from pipeline.sweep.commit_queue import CommitQueue
from pipeline.sweep.dvc_internals.lock_file import MergedLock
from pipeline.sweep.dvc_internals.stages import DvcStages
from pipeline.sweep.gpus import list_gpus
from pipeline.sweep.outside_grid import move_outside_grid
from pipeline.sweep.pool import run_jobs
from pipeline.sweep.ray_runner import run_on_ray
from pipeline.sweep.summary import summarize
from pipeline.sweep.worker import Job, JobResult
from pipeline.tracking.background_logger import BackgroundLogger
from pipeline.train.run_key import is_current
from pipeline.variants.model_checks import check_models
from pipeline.wording import pluralize

if TYPE_CHECKING:  # imported only if a run is to do, because it takes half of the time of a sweep without any
    from pipeline.sweep.growing_report import GrowingReport

LOCK = CACHE / "sweep" / "lock"
STOPPED = 130  # exit code of a command ended by Ctrl-C, by shell convention


@dataclass(frozen=True)
class SweepPlan:
    """Jobs of a sweep, and runs that do not need a job."""

    jobs: list[Job]
    restored: list[str]  # runs with a stage that was restored from DVC's cache
    num_current: int  # runs that are up to date


def sweep(params: Params, num_workers: int | None, targets: tuple[str, ...], ray: str | None, project: Project) -> int:
    """Train and evaluate the stale cells of the grid, and commit them to DVC.

    Args:
        params: the content of `params.yaml`.
        num_workers: number of runs in parallel; None for one per GPU or, without a GPU, the number of cores divided by
            `train.num_threads`.
        targets: names or patterns of runs; empty for all.
        ray: the address of a Ray cluster to run on; None for this machine.
        project: the project or study to sweep.

    Returns:
        The exit code: 1 if a cell failed or could not be committed, 130 if the user stopped the sweep, otherwise 0.

    Raises:
        PipelineError: Nothing was trained, because a network cannot be built, a target matches no run, another sweep is
            running, or the cluster cannot be used; or finished runs cannot be recorded in DVC.
    """
    selected = params.select_runs(targets)
    lock = WorkLock(project.root / LOCK)  # two sweeps would train the same cells
    with lock.hold("Another sweep of this folder"), contextlib.ExitStack() as stack:
        stages = DvcStages(project.root)
        stack.enter_context(stages.reserve(selected if targets else None))
        move_outside_grid([cell.name for cell in params.cells()], project.root)
        merged = stages.merge_lock()
        stages.reproduce("prepare")
        if merged:
            _recover(merged, params, selected, stages, project)
        plan = _plan(params, selected, stages, project)
        check_signals()
        check_models(params, [job.cell.variant for job in plan.jobs if job.train])
        check_signals()
        num_workers = min(num_workers or _default_workers(plan.jobs), len(plan.jobs))
        growing = None
        if plan.jobs:
            where = "on a Ray cluster" if ray else f"{num_workers} at a time"
            click.echo(f"{pluralize(len(plan.jobs), 'run')} to do, {where}")
            if not targets:
                from pipeline.sweep.growing_report import GrowingReport

                to_do = [job.cell.name for job in plan.jobs]
                growing = stack.enter_context(GrowingReport(params, project, set(selected) - {*to_do}, to_do))
                click.echo(f"The report, which grows as runs end: {growing.path.absolute().as_uri()}")
        queue = CommitQueue(stages, project)
        unrecorded: PipelineError | None = None
        logger = stack.enter_context(BackgroundLogger(params, project, log_system_metrics=not ray))
        try:
            results = []
            ended = _run(params, plan.jobs, num_workers, ray, project, logger, growing)
            with contextlib.closing(ended):
                for result in ended:
                    results.append(result)
                    queue.add(result)
        finally:  # also after the second Ctrl-C
            logger.kill_all()
            try:
                queue.close()
            except PipelineError as error:
                unrecorded = error
    results.sort(key=lambda result: selected.index(result.job.cell.name))
    started = {result.job.cell.name for result in results}
    left = [job.cell.name for job in plan.jobs if job.cell.name not in started]
    click.echo(summarize(results, plan.restored, left, plan.num_current, queue.refused, project))
    if unrecorded:
        raise unrecorded
    if left or any(result.status == "stopped" for result in results):
        return STOPPED
    return 1 if queue.refused or any(result.status == "failed" for result in results) else 0


def _run(
    params: Params,
    jobs: list[Job],
    num_workers: int,
    ray: str | None,
    project: Project,
    logger: BackgroundLogger,
    growing: GrowingReport | None,
) -> Generator[JobResult, None, None]:
    """Run jobs, log them to MLflow, and show their progress; yield each result as its job ends."""
    with TrainingProgress(runs=len(jobs)) as progress, _graceful_stop() as is_stopping:

        def listen(state: TrainingState) -> None:
            logger.update(state)
            if state.progress:
                progress.show_epoch(state.progress)
                if growing:
                    growing.show_epoch(state.progress)

        if ray and jobs:
            ended = run_on_ray(params, jobs, ray, project, listen, is_stopping)
        else:
            ended = run_jobs(params, jobs, num_workers, project, listen, is_stopping)
        with contextlib.closing(ended):
            for result in ended:
                name = result.job.cell.name
                if result.trained or result.evaluated:
                    logger.finish(name)
                logger.kill(name)  # no effect unless the training was stopped or killed
                yield result
                if growing:
                    growing.end_run(name, is_complete=result.status == "finished")
                failed = "failed: " if result.status == "failed" else ""
                progress.end_run(name, f"{failed}{result.message}")


def _recover(merged: MergedLock, params: Params, selected: list[str], stages: DvcStages, project: Project) -> None:
    """Recover the runs from both sides of a merged dvc.lock, and report the merge."""
    cells = {cell.name: cell for cell in params.cells()}
    recognized = stages.commit_recognized(
        merged.trained, lambda name: name in cells and is_current(cells[name], project)
    )
    fetched = list[str]()
    try:
        fetched = stages.fetch(selected)
    except PipelineError as error:
        click.echo(f"DVC's remote cannot be read, so runs that exist only there are trained again: {error}", err=True)
    click.echo(merged.describe(len(recognized), len(fetched)), err=True)


def _plan(params: Params, selected: list[str], stages: DvcStages, project: Project) -> SweepPlan:
    """Restore stale stages from DVC's run cache, including those of a killed sweep, and plan jobs for the others."""
    cells = {cell.name: cell for cell in params.cells()}
    train, evaluate = stages.find_stale(selected, lambda name: is_current(cells[name], project))
    restored = stages.restore("train", train)
    if restored:
        train, evaluate = stages.find_stale(selected)
    # Evaluations come second, because the run cache finds them by the hash of the trained run.
    evaluated = stages.restore("evaluate", [run for run in evaluate if run not in train])
    evaluate = [run for run in evaluate if run not in evaluated]
    stages.update_lock()  # now, so that a sweep that is stopped before a run finishes has nothing to write
    hashes = stages.hash_dependencies([*(f"train@{run}" for run in train), *(f"evaluate@{run}" for run in evaluate)])
    if read_params(project.root / "params.yaml") != params:  # DVC would record parameters that were not used
        raise PipelineError("params.yaml was changed while the sweep was starting. Run the same command again.")
    jobs = [
        Job(cell, hashes.get(f"train@{cell.name}"), hashes.get(f"evaluate@{cell.name}"))
        for cell in params.cells()
        if cell.name in selected
    ]
    _clear_leftovers(jobs, project)
    to_do = [job for job in jobs if job.train or job.evaluate]
    runs_restored = list(dict.fromkeys([*restored, *evaluated]))
    num_current = len(jobs) - len({*runs_restored, *(job.cell.name for job in to_do)})
    return SweepPlan(to_do, runs_restored, num_current)


def _clear_leftovers(jobs: list[Job], project: Project) -> None:
    """Remove the recorded failures and the checkpoints of stages that are up to date."""
    unfinished = {run.key: run for run in list_unfinished(project.root)}
    for job in jobs:
        for stage, is_stale in (("train", job.train), ("evaluate", job.train or job.evaluate)):
            if not is_stale:
                clear_stage_status(stage, job.cell.name, project.root)
        if unfinished and not job.train:
            key = project.run(job.cell.name).record.key
            if key in unfinished:
                unfinished[key].remove()


@contextlib.contextmanager
def _graceful_stop() -> Iterator[Callable[[], bool]]:
    """Let the first Ctrl-C print a message instead of raising; yield a function that returns whether it was pressed."""
    with graceful_interrupt() as is_asked:
        has_answered = False

        def is_stopping() -> bool:
            nonlocal has_answered
            if is_asked() and not has_answered:
                has_answered = True
                click.echo("Stopping after the current epochs. Press Ctrl-C again to stop now.", err=True)
            return has_answered

        yield is_stopping


def _default_workers(jobs: list[Job]) -> int:
    """Return the number of GPUs; without a GPU, the number of cores divided by the threads of a run, at least 1."""
    return len(list_gpus()) or max(1, count_cores() // max((job.cell.train.num_threads for job in jobs), default=1))
