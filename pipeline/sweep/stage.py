"""A sweep: the stale cells of the grid side by side in a pool of warm workers, and what finished handed to DVC."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from queue import Empty

import click

from pipeline.params import Params
from pipeline.progress import TrainingProgress
from pipeline.sweep.ledger import Ledger
from pipeline.sweep.worker import Job, Outcome, Reports, start, work

# Cells recorded at once. A write costs DVC the whole lock file; a machine that loses power loses at most these.
BATCH = 8


def sweep(params: Params, jobs: int | None, root: Path) -> int:
    """Train and evaluate what is stale; afterwards `dvc status` names no cell.

    Args:
        params: the whole of `params.yaml`.
        jobs: trainings at once; None for cores / `train.threads`.
        root: the project's folder.

    Returns:
        The exit code: 1 where a cell failed, else 0.
    """
    ledger = Ledger(root)
    ledger.reproduce("prepare")
    work_to_do, restored = _jobs(params, ledger)
    if restored:
        click.echo(f"{restored} cells restored from DVC's cache")
    if not work_to_do:
        click.echo("Every run of the grid is trained and evaluated.")
        return 0
    at_once = min(jobs or max(1, (os.cpu_count() or 1) // params.train.threads), len(work_to_do))
    click.echo(f"{len(work_to_do)} runs to do, {at_once} at a time")
    failed = []
    finished: list[Outcome] = []
    try:
        with TrainingProgress(runs=len(work_to_do)) as progress:
            for outcome in _run(params, work_to_do, at_once, root, progress):
                progress.end(outcome.job.cell.name, outcome.sentence)
                finished.append(outcome)
                if outcome.failed:
                    failed.append(outcome)
                if len(finished) >= BATCH:
                    _record(ledger, finished)
    finally:  # also on Ctrl-C: what finished is kept
        _record(ledger, finished)
    for outcome in failed:
        click.echo(f"{outcome.job.cell.name} failed: {outcome.sentence}", err=True)
        click.echo(f"  to see it alone: dvc repro train@{outcome.job.cell.name}", err=True)
    return 1 if failed else 0


def _jobs(params: Params, ledger: Ledger) -> tuple[list[Job], int]:
    """What is left to do after DVC's run cache gave what it has, and how many cells that were."""
    train, _ = ledger.stale()
    restored = ledger.restore("train", train)
    train, evaluate = ledger.stale()
    restored += ledger.restore("evaluate", [run for run in evaluate if run not in train])
    train, evaluate = ledger.stale()
    jobs = [Job(cell, cell.name in train, cell.name in evaluate) for cell in params.cells()]
    return [job for job in jobs if job.train or job.evaluate], len(restored)


def _record(ledger: Ledger, finished: list[Outcome]) -> None:
    ledger.record(
        [outcome.job.cell.name for outcome in finished if outcome.trained],
        [outcome.job.cell.name for outcome in finished if outcome.evaluated],
    )
    finished.clear()


def _run(params: Params, jobs: list[Job], at_once: int, root: Path, progress: TrainingProgress) -> Iterator[Outcome]:
    """Run jobs in a pool and hand out each as it ends, the epochs of all being shown meanwhile."""
    # spawn: a forked torch would share its thread pools' locks with its parent.
    context = multiprocessing.get_context("spawn")
    reports: Reports = context.Queue()
    with (
        ProcessPoolExecutor(at_once, context, initializer=start, initargs=(reports,)) as pool,
        _shown(reports, progress),
    ):
        futures: dict[Future[Outcome], Job] = {pool.submit(work, params, job, root): job for job in jobs}
        try:
            for future in as_completed(futures):
                try:
                    yield future.result()
                except BrokenProcessPool:
                    sentence = "its worker process was killed, for memory perhaps; with --jobs 1 there is more for each"
                    yield Outcome(futures[future], trained=False, evaluated=False, sentence=sentence, failed=True)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


@contextlib.contextmanager
def _shown(reports: Reports, progress: TrainingProgress) -> Iterator[None]:
    """Show reports from all workers as they come, until the block ends."""
    over = threading.Event()

    def show() -> None:
        while not over.is_set():
            with contextlib.suppress(Empty):
                progress.epoch(reports.get(timeout=0.2))

    thread = threading.Thread(target=show, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
