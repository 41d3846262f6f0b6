"""The worker pool: every job has one result, even if its process is killed."""

from __future__ import annotations

import os
import signal
import time
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from pipeline.artifacts.project import Project
from pipeline.params import Params
from pipeline.params.file import read_params
from pipeline.runtime.training_state import TrainingState
from pipeline.sweep import pool
from pipeline.sweep.pool import run_jobs
from pipeline.sweep.worker import STOP, Job, JobResult
from tests.conftest import write_params

pytestmark = pytest.mark.usefixtures("preloaded_workers")


def serve(pipe: Connection, params: Params, root: Path) -> None:
    """Replace a worker: jobs of seed 0 succeed, of seed 1 are killed, of seed 2 take a minute."""
    while True:
        try:
            job = pipe.recv()
        except EOFError:
            return
        if job == STOP:
            return
        pipe.send(TrainingState(job.cell.name, "key", {}, "float32", "data", 0))
        if job.cell.seed == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        if job.cell.seed == 2:
            time.sleep(60)
        pipe.send(JobResult(job, trained=True, evaluated=True, message=str(os.getpid())))


def never() -> bool:
    return False


@pytest.fixture
def params(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Params:
    monkeypatch.setattr(pool, "serve", serve)
    return read_params(write_params(tmp_path, {}))


def create_jobs(params: Params, *seeds: int) -> list[Job]:
    return [Job(params.cell("unet", 0.1 / (index + 1), seed), "hash", "hash") for index, seed in enumerate(seeds)]


def test_run_jobs_returns_every_result_and_reuses_workers(params: Params) -> None:
    jobs = create_jobs(params, *[0] * 6)
    states: list[TrainingState] = []
    results = list(run_jobs(params, jobs, 2, Project(), states.append, never))
    assert {result.job.cell.name for result in results} == {job.cell.name for job in jobs}
    assert {state.run for state in states} == {job.cell.name for job in jobs}
    assert len({result.message for result in results}) <= 2  # processes


def test_killed_worker_fails_only_its_own_job(params: Params) -> None:
    jobs = create_jobs(params, 0, 1, 0, 0, 1, 0)
    results = list(run_jobs(params, jobs, 2, Project(), lambda state: None, never))
    assert len(results) == len(jobs)
    failed = [result for result in results if result.status == "failed"]
    assert [result.job.cell.seed for result in failed] == [1, 1]
    assert all("killed by signal 9" in result.message for result in failed)


def test_closed_generator_leaves_no_process(params: Params, monkeypatch: pytest.MonkeyPatch) -> None:
    started = []
    start = pool.Worker.start

    def record_start(*arguments: object) -> pool.Worker:
        started.append(start(*arguments))  # type: ignore[arg-type]
        return started[-1]

    monkeypatch.setattr(pool.Worker, "start", record_start)
    results = run_jobs(params, create_jobs(params, 0, 2, 0), 2, Project(), lambda state: None, never)
    next(results)
    results.close()
    assert len(started) == 2
    assert not [worker for worker in started if worker.process.is_alive()]


def test_stop_request_starts_no_further_job(params: Params) -> None:
    jobs = create_jobs(params, *[0] * 6)
    finished: list[JobResult] = []
    for result in run_jobs(params, jobs, 2, Project(), lambda state: None, lambda: len(finished) > 0):
        finished.append(result)
    assert 1 <= len(finished) <= 3
    assert all(result.status == "finished" for result in finished)
