"""The pool: every job has one outcome, whatever happens to its process."""

from __future__ import annotations

import os
import signal
import time
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from pipeline.params import Params
from pipeline.params.file import read_params
from pipeline.runtime.progress import EpochReport
from pipeline.sweep import pool
from pipeline.sweep.pool import run_jobs
from pipeline.sweep.worker import STOP, Job, Outcome
from tests.conftest import write_params


def serve(pipe: Connection, params: Params, root: Path) -> None:
    """A worker that does what the job's seed says: 0 works, 1 is killed, 2 works long."""
    while True:
        try:
            job = pipe.recv()
        except EOFError:
            return
        if job == STOP:
            return
        pipe.send(EpochReport(job.cell.name, 1, 1, 0.5, 0.6, 9.0))
        if job.cell.seed == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        if job.cell.seed == 2:
            time.sleep(60)
        pipe.send(Outcome(job, trained=True, evaluated=True, sentence=str(os.getpid())))


def go_on() -> bool:
    return False


@pytest.fixture
def params(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Params:
    monkeypatch.setattr(pool, "serve", serve)
    return read_params(write_params(tmp_path, {}))


def jobs(params: Params, *seeds: int) -> list[Job]:
    rates = [0.1 / (place + 1) for place in range(len(seeds))]
    return [Job(params.cell("unet", rate, seed), "made", "made") for rate, seed in zip(rates, seeds, strict=True)]


def test_every_job_has_its_outcome_and_workers_stay_warm(params: Params) -> None:
    asked = jobs(params, *[0] * 6)
    seen: list[EpochReport] = []
    outcomes = list(run_jobs(params, asked, 2, Path(), seen.append, go_on))
    assert {outcome.job.cell.name for outcome in outcomes} == {job.cell.name for job in asked}
    assert {report.run for report in seen} == {job.cell.name for job in asked}
    assert len({outcome.sentence for outcome in outcomes}) <= 2  # processes


def test_a_killed_process_costs_its_own_job_only(params: Params) -> None:
    asked = jobs(params, 0, 1, 0, 0, 1, 0)
    outcomes = list(run_jobs(params, asked, 2, Path(), lambda report: None, go_on))
    assert len(outcomes) == len(asked)
    failed = [outcome for outcome in outcomes if outcome.end == "failed"]
    assert [outcome.job.cell.seed for outcome in failed] == [1, 1]
    assert all("ended by signal 9" in outcome.sentence for outcome in failed)


def test_who_stops_early_leaves_no_process(params: Params, monkeypatch: pytest.MonkeyPatch) -> None:
    started = []
    start = pool.Worker.start

    def remembered(*arguments: object) -> pool.Worker:
        started.append(start(*arguments))  # type: ignore[arg-type]
        return started[-1]

    monkeypatch.setattr(pool.Worker, "start", remembered)
    outcomes = run_jobs(params, jobs(params, 0, 2, 0), 2, Path(), lambda report: None, go_on)
    next(outcomes)
    outcomes.close()
    assert len(started) == 2
    assert not [worker for worker in started if worker.process.is_alive()]


def test_who_is_asked_to_stop_begins_nothing_more(params: Params) -> None:
    asked = jobs(params, *[0] * 6)
    ended: list[Outcome] = []
    for outcome in run_jobs(params, asked, 2, Path(), lambda report: None, lambda: len(ended) > 0):
        ended.append(outcome)
    assert 1 <= len(ended) <= 3
    assert all(outcome.end == "finished" for outcome in ended)
