"""Jobs of a sweep, and the worker process that runs them one after another."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from pipeline.artifacts.project import Project
from pipeline.artifacts.status import JobStatus
from pipeline.errors import PipelineError, user_message
from pipeline.params import Cell, Params
from pipeline.runtime.process import terminate_with_parent
from pipeline.runtime.shutdown import check_signals, defer_signals
from pipeline.runtime.stage_status import record_stage
from pipeline.runtime.training_state import TrainingState

# Seconds from SIGTERM until a worker is killed; long enough to complete a training step. The sweep uses the rest of
# `shutdown.GRACE_SECONDS` for its own cleanup.
END_SECONDS = 10
_POLL_SECONDS = 0.5
STOP = "stop"  # message that ends a worker: after the current epoch, or at once if it is idle


@dataclass(frozen=True)
class Job:
    """A cell to train, evaluate, or both."""

    cell: Cell
    train: str | None  # hash of the training stage's dependencies; None if the stage is up to date
    evaluate: str | None  # hash of the evaluation stage's dependencies; None if the stage is up to date


@dataclass(frozen=True)
class JobResult:
    """Status of a job that has ended, and the stages that it completed."""

    job: Job
    message: str  # shown to the user
    status: JobStatus = "finished"
    trained: bool = False
    evaluated: bool = False
    seconds: float = 0.0

    def hashes(self) -> dict[str, str]:
        """Return the dependency hash of each completed stage, by the stage's name in DVC."""
        job = self.job
        done = (("train", self.trained, job.train), ("evaluate", self.evaluated, job.evaluate))
        return {f"{stage}@{job.cell.name}": value for stage, is_done, value in done if is_done and value is not None}


class StopRequested(KeyboardInterrupt):
    """Exception that ends a job when the user stops the sweep; the last finished epoch of the run is saved."""


def serve(pipe: Connection, params: Params, root: Path) -> None:
    """Run jobs received through the pipe until it closes, and send training states and results back."""
    # A terminal sends Ctrl-C to all of its processes, but only the sweep handles it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    defer_signals()
    terminate_with_parent(END_SECONDS)

    def publish(state: TrainingState) -> None:
        try:
            pipe.send(state)
        except OSError:  # the sweep has exited
            sys.exit(128 + signal.SIGTERM)
        if state.progress:
            check_signals()
            if state.progress.epoch < state.progress.epochs:
                check_request()

    def check_request() -> None:
        if pipe.poll():  # only STOP is sent while a job runs
            raise StopRequested

    while True:
        check_signals()
        if not pipe.poll(_POLL_SECONDS):
            continue
        try:
            job = pipe.recv()
        except EOFError:
            job = STOP
        if job == STOP:
            return
        try:
            pipe.send(run_job(params, job, Project(root), publish, check_request))
        except OSError:  # the sweep has exited
            return


def run_job(
    params: Params,
    job: Job,
    project: Project,
    publish: Callable[[TrainingState], None],
    check_request: Callable[[], None] = lambda: None,
    *,
    keep_checkpoints: bool = True,
) -> JobResult:
    """Train and evaluate a cell; a failure is returned as a result, so that the other cells continue.

    Args:
        params: the content of `params.yaml`.
        job: the cell and its stale stages.
        project: a new object for each job, because it caches the files that it has read.
        publish: called with each new state of the training, which the sweep displays and logs to MLflow.
        check_request: called before the job starts; it and `publish` may raise `StopRequested`.
        keep_checkpoints: whether to keep the checkpoints of a complete run until the sweep has committed it.
    """
    started = time.monotonic()
    trained = evaluated = False
    said: list[str] = []

    def result(status: JobStatus, message: str) -> JobResult:
        return JobResult(job, message, status, trained, evaluated, time.monotonic() - started)

    try:
        # Imported here, so that an error in the network's code fails only this job.
        from pipeline.evaluate.evaluate_run import evaluate_run
        from pipeline.train.train_cell import train_cell

        check_signals()
        check_request()
        name = job.cell.name
        if job.train is not None:
            with record_stage("train", name, project.root) as say:

                def record_and_publish(state: TrainingState) -> None:
                    if state.progress:
                        said[:] = [state.progress.describe()]
                        say(said[0])
                    publish(state)

                record = train_cell(job.cell, project, record_and_publish, keep_checkpoints=keep_checkpoints)
            trained = True
            said[:] = ["diverged" if record.status == "diverged" else f"best epoch {record.best_epoch}"]
            if record.status == "stopped_early":
                said.append(f"stopped early after epoch {record.epochs}")
        if job.evaluate is not None:
            with record_stage("evaluate", name, project.root):
                found = evaluate_run(params, name, project)
            evaluated = True
            if found.validation and found.gap is not None:
                said.append(f"val {found.validation.loss:.3f}, gap {found.gap:+.3f}")
    except StopRequested:
        return result("stopped", f"stopped after {said[0]}" if said else "stopped before its first epoch")
    except (PipelineError, OSError) as error:  # for example an invalid parameter or a full disk
        return result("failed", user_message(error))
    except Exception as error:  # a bug
        return result("failed", f"{type(error).__name__}: {error}")
    return result("finished", "; ".join(said))
