"""What a worker process does: one cell after the other, torch and MLflow imported once."""

from __future__ import annotations

import signal
import sys
from dataclasses import dataclass
from multiprocessing.queues import Queue
from pathlib import Path
from typing import TypeAlias

from pipeline.errors import PipelineError
from pipeline.params import Cell, Params
from pipeline.progress import EpochReport

Reports: TypeAlias = "Queue[EpochReport]"
_reports: Reports | None = None


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


def start(reports: Reports) -> None:
    """Called once in each new worker: remembers where epochs are reported, and imports what every cell needs."""
    global _reports  # a pool hands a queue to its tasks in no other way
    _reports = reports
    # As an exit, so that MLflow learns of it: the run is KILLED there, not RUNNING for ever.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    import pipeline.evaluate.stage
    import pipeline.train.stage  # noqa: F401


def work(params: Params, job: Job, root: Path) -> Outcome:
    """Do a job; a failure of it is an outcome, so that the other cells go on."""
    from pipeline.evaluate.stage import evaluate_run
    from pipeline.train.stage import train_cell

    trained = evaluated = False
    said = []
    try:
        if job.train:
            record = train_cell(params, job.cell, root, _reports.put if _reports else None)
            trained = True
            said.append("diverged" if record.status == "diverged" else f"best epoch {record.best_epoch}")
        if job.evaluate:
            found = evaluate_run(params, job.cell.name, root)
            evaluated = True
            if found.validation and found.gap is not None:
                said.append(f"val {found.validation.loss:.3f}, gap {found.gap:+.3f}")
    except PipelineError as error:
        return Outcome(job, trained, evaluated, str(error), failed=True)
    except Exception as error:  # a bug or the machine: named, and the rest of the grid goes on
        return Outcome(job, trained, evaluated, f"{type(error).__name__}: {error}", failed=True)
    return Outcome(job, trained, evaluated, "; ".join(said), failed=False)
