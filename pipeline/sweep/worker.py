"""What a worker process does: one job after the other, torch and MLflow imported once."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Literal

from pipeline.attempts import attempt, forget_attempt
from pipeline.errors import PipelineError, user_message
from pipeline.orphans import end_with_parent
from pipeline.params import Cell, Params
from pipeline.progress import EpochReport
from pipeline.signals import exit_when_told
from pipeline.sweep.journal import Journal

PATIENCE = 20  # seconds that a worker has to tell MLflow that its run was killed
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


class StopAfterEpoch(KeyboardInterrupt):
    """Somebody asked the sweep to stop; the epoch that just ended is safe."""


def serve(pipe: Connection, params: Params, root: Path) -> None:
    """Do the jobs that come through the pipe until it closes; epochs and outcomes go back through it."""
    check = exit_when_told()
    # Ctrl-C reaches every process of the terminal; what is to end is the sweep's to say.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent(PATIENCE)

    def report(epoch: EpochReport) -> None:
        try:
            pipe.send(epoch)
        except OSError:  # the sweep is gone, so nobody waits for this
            sys.exit(128 + signal.SIGHUP)
        check()
        if pipe.poll() and epoch.epoch < epoch.epochs:  # nothing but STOP comes while a job is under way
            raise StopAfterEpoch

    while True:
        check()
        try:
            job = pipe.recv()
        except EOFError:
            job = STOP
        if job == STOP:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)  # it would hit an interpreter that is being taken down
            return
        try:
            pipe.send(work(params, job, root, report))
        except OSError:  # as above
            return


def work(params: Params, job: Job, root: Path, report: Callable[[EpochReport], None]) -> Outcome:
    """Do a job; a failure of it is an outcome, so that the other cells go on."""
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

                record = train_cell(params, job.cell, root, listen, complete)
            trained = True
            said[:] = ["diverged" if record.status == "diverged" else f"best epoch {record.best_epoch}"]
        if job.evaluate is not None:
            with attempt("evaluate", name, root):
                found = evaluate_run(params, name, root)
            journal.add("evaluate", name, job.evaluate)
            evaluated = True
            if found.validation and found.gap is not None:
                said.append(f"val {found.validation.loss:.3f}, gap {found.gap:+.3f}")
    except StopAfterEpoch:
        return outcome("stopped", f"stopped after {said[0]}")
    except (PipelineError, OSError) as error:  # a user's mistake, a full disk: the sentence says all
        return outcome("failed", user_message(error))
    except Exception as error:  # a bug or the machine: named, and the rest of the grid goes on
        return outcome("failed", f"{type(error).__name__}: {error}")
    return outcome("done", "; ".join(said))
