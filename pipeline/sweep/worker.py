"""What a worker process does: one job after the other, torch imported once."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Literal

from pipeline.errors import PipelineError, user_message
from pipeline.params import Cell, Params
from pipeline.runtime.process import terminate_with_parent
from pipeline.runtime.progress import EpochReport
from pipeline.runtime.shutdown import check_signals, defer_signals
from pipeline.runtime.stage_status import attempt, forget_attempt
from pipeline.sweep.journal import Journal
from pipeline.tracking.run_metrics import TrainingState

# Seconds from SIGTERM until a worker is killed: its training ends with the step. The sweep has to end within
# `shutdown.GRACE_SECONDS`.
PATIENCE = 10
_POLL_SECONDS = 0.5
STOP = "stop"  # instead of a job: end the epoch that is under way, and then the process


@dataclass(frozen=True)
class Job:
    """A cell to train, to evaluate, or both; of each the digest of what it is made from, None where it is not to do."""

    cell: Cell
    train: str | None
    evaluate: str | None


@dataclass(frozen=True)
class Outcome:
    """How a job ended: what of it was done, and a sentence for a person."""

    job: Job
    trained: bool
    evaluated: bool
    sentence: str
    end: Literal["done", "failed", "stopped"] = "done"
    seconds: float = 0.0

    def finished(self) -> list[str]:
        """DVC's names of what is finished."""
        done = (("train", self.trained), ("evaluate", self.evaluated))
        return [f"{stage}@{self.job.cell.name}" for stage, is_done in done if is_done]


class StopRequested(KeyboardInterrupt):
    """The user asked the sweep to stop; the last finished epoch is saved."""


def serve(pipe: Connection, params: Params, root: Path) -> None:
    """Do the jobs that come through the pipe until it closes; epochs, states and outcomes go back through it."""
    # Ctrl-C reaches every process of the terminal; the sweep decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    defer_signals()
    terminate_with_parent(PATIENCE)

    def send(message: EpochReport | TrainingState) -> None:
        try:
            pipe.send(message)
        except OSError:  # the sweep is gone
            sys.exit(128 + signal.SIGHUP)

    def report(epoch: EpochReport) -> None:
        send(epoch)
        check_signals()
        if epoch.epoch < epoch.epochs:
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
            pipe.send(work(params, job, root, report, send, check_request))
        except OSError:  # the sweep is gone
            return


def work(
    params: Params,
    job: Job,
    root: Path,
    report: Callable[[EpochReport], None],
    publish: Callable[[TrainingState], None],
    check_request: Callable[[], None] = lambda: None,
) -> Outcome:
    """Do a job; a failure of it is an outcome, so that the other cells continue.

    Args:
        params: the whole of `params.yaml`.
        job: what to do.
        root: the project's folder.
        report: called as each epoch ends.
        publish: called with the state of the training, which the sweep logs to MLflow.
        check_request: called before the training starts; it and `report` may raise `StopRequested`.
    """
    started = time.monotonic()
    trained = evaluated = False
    said: list[str] = []
    journal = Journal(root)

    def outcome(end: Literal["done", "failed", "stopped"], sentence: str) -> Outcome:
        return Outcome(job, trained, evaluated, sentence, end, time.monotonic() - started)

    try:
        # Here, not above: a mistake in the network's code is this job's failure, with its own sentence.
        from pipeline.evaluate.stage import evaluate_run
        from pipeline.train.stage import train_cell

        check_signals()
        check_request()
        name = job.cell.name
        if job.train is not None:
            made_from = job.train
            with attempt("train", name, root) as say:

                def listen(epoch: EpochReport) -> None:
                    said[:] = [epoch.sentence()]
                    say(epoch.sentence())
                    report(epoch)

                def complete() -> None:
                    journal.add("train", name, made_from)
                    forget_attempt("train", name, root)  # to be killed from here on costs nothing

                record = train_cell(job.cell, root, listen, publish, complete)
            trained = True
            said[:] = ["diverged" if record.status == "diverged" else f"best epoch {record.best_epoch}"]
        if job.evaluate is not None:
            with attempt("evaluate", name, root):
                found = evaluate_run(params, name, root)
            journal.add("evaluate", name, job.evaluate)
            evaluated = True
            if found.validation and found.gap is not None:
                said.append(f"val {found.validation.loss:.3f}, gap {found.gap:+.3f}")
    except StopRequested:
        return outcome("stopped", f"stopped after {said[0]}" if said else "stopped before its first epoch")
    except (PipelineError, OSError) as error:  # a user's mistake, a full disk: the sentence says all
        return outcome("failed", user_message(error))
    except Exception as error:  # a bug or the machine: named, and the rest of the grid goes on
        return outcome("failed", f"{type(error).__name__}: {error}")
    return outcome("done", "; ".join(said))
