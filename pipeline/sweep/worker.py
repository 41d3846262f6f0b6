"""What a worker process does: one job after the other, torch and MLflow imported once."""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from pipeline.attempts import attempt
from pipeline.errors import PipelineError
from pipeline.params import Cell, Params
from pipeline.progress import EpochReport
from pipeline.signals import exit_when_told


@dataclass(frozen=True)
class Job:
    """A cell to train, to evaluate, or both."""

    cell: Cell
    train: bool
    evaluate: bool


@dataclass(frozen=True)
class Outcome:
    """How a job ended: what of it was done, and a sentence for a person."""

    job: Job
    trained: bool
    evaluated: bool
    sentence: str
    failed: bool


def serve(pipe: Connection, params: Params, root: Path) -> None:
    """Do the jobs that come through the pipe until it closes; epochs and outcomes go back through it."""
    check = exit_when_told()
    # Ctrl-C reaches every process of the terminal; what is to end is the sweep's to say.
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def report(epoch: EpochReport) -> None:
        pipe.send(epoch)
        check()

    while True:
        check()
        try:
            job = pipe.recv()
        except EOFError:
            return
        pipe.send(work(params, job, root, report))


def work(params: Params, job: Job, root: Path, report: Callable[[EpochReport], None]) -> Outcome:
    """Do a job; a failure of it is an outcome, so that the other cells go on."""
    trained = evaluated = False
    said = []
    try:
        # Here, not above: a mistake in the network's code is this job's failure, with its own sentence.
        from pipeline.evaluate.stage import evaluate_run
        from pipeline.train.stage import train_cell

        if job.train:
            with attempt("train", job.cell.name, root) as say:

                def listen(epoch: EpochReport) -> None:
                    say(epoch.sentence())
                    report(epoch)

                record = train_cell(params, job.cell, root, listen)
            trained = True
            said.append("diverged" if record.status == "diverged" else f"best epoch {record.best_epoch}")
        if job.evaluate:
            with attempt("evaluate", job.cell.name, root):
                found = evaluate_run(params, job.cell.name, root)
            evaluated = True
            if found.validation and found.gap is not None:
                said.append(f"val {found.validation.loss:.3f}, gap {found.gap:+.3f}")
    except BrokenPipeError:  # the sweep is gone, so nobody waits for this
        raise
    except PipelineError as error:
        return Outcome(job, trained, evaluated, str(error), failed=True)
    except Exception as error:  # a bug or the machine: named, and the rest of the grid goes on
        return Outcome(job, trained, evaluated, f"{type(error).__name__}: {error}", failed=True)
    return Outcome(job, trained, evaluated, "; ".join(said), failed=False)
