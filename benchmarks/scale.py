"""What a sweep itself costs: grids of 100, 300 and 1,000 cells whose training sleeps for a second.

Run in the project's folder: `python -m benchmarks.scale`; the last grid takes long. All but the training is real: DVC,
the ledger and the journal, worker processes, run folders of the usual number of files. A row a grid; overhead is the
time that a cell costs beside its training, with as many at a time as there are cores.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from contextlib import redirect_stderr, redirect_stdout
from multiprocessing.connection import Connection
from pathlib import Path

from benchmarks.project import copy_project
from benchmarks.stopwatch import Stopwatch
from pipeline import runs
from pipeline.atomic_io import replacing
from pipeline.params import Params
from pipeline.params.file import read_params
from pipeline.sweep import pool, stage
from pipeline.sweep.journal import Journal
from pipeline.sweep.ledger import Ledger
from pipeline.sweep.worker import STOP, Job, Outcome

SECONDS = 1.0  # of a training
FILES = (runs.RECORD, runs.HISTORY, runs.IMAGE_LOSSES, runs.SHOWCASE_MASKS, runs.WEIGHTS, runs.TIMING)


def sleep_and_write(pipe: Connection, params: Params, root: Path) -> None:
    """As `pipeline.sweep.worker.serve`, without networks."""
    del params
    while (job := pipe.recv()) != STOP:
        assert isinstance(job, Job)
        name, journal = job.cell.name, Journal(root)
        time.sleep(SECONDS)
        for step, folder, made_from in (("train", runs.RUNS, job.train), ("evaluate", runs.EVALUATION, job.evaluate)):
            with replacing(root / folder / name) as new:
                for file in FILES:
                    (new / file).write_text(f"{name} {file}", encoding="utf-8")
            assert made_from is not None
            journal.add(step, name, made_from)
        pipe.send(Outcome(job, trained=True, evaluated=True, sentence="slept"))


def measure(cells: int) -> None:
    """Sweep a grid in this process, print its row, and that of a sweep that finds nothing to do."""
    in_dvc = Stopwatch(Ledger, "make", "stale", "restore", "made_from", "record")
    pool.serve = sleep_and_write
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder).resolve() / "project"
        changes = {
            "data": {"image_size": 32, "samples": {"train": 12, "validation": 6, "test": 6}},
            "grid": {"variant": ["unet"], "learning_rate": [0.01], "seed": list(range(cells))},
        }
        copy_project(root, changes)
        os.chdir(root)
        Ledger(root).make("prepare")
        found, jobs = read_params(), os.cpu_count() or 1
        rows = []
        for _ in range(2):
            in_dvc.seconds, started = 0.0, time.perf_counter()
            with Path(os.devnull).open("w") as silent, redirect_stdout(silent), redirect_stderr(silent):
                assert stage.sweep(found, jobs, (), None, Path()) == 0
            rows.append((time.perf_counter() - started, in_dvc.seconds))
        (wall, dvc), (again, _) = rows
        overhead = (wall - cells * SECONDS / jobs) / cells
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        print(f"{cells:>6}{wall:>10.0f}{overhead:>12.2f}{dvc / cells:>10.2f}{memory:>10.2f}{again:>10.0f}", flush=True)


def main() -> None:
    """A process a grid: memory is the highest that a process ever had."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cells", type=int, nargs="*", default=[100, 300, 1000])
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        measure(*arguments.cells)
        return
    print(
        f"{'cells':>6}{'wall s':>10}{'overhead s':>12}{'DVC s':>10}{'GB':>10}{'again s':>10}    (a cell: overhead, DVC)"
    )
    for cells in arguments.cells:
        subprocess.run([sys.executable, "-m", "benchmarks.scale", str(cells), "--one"], check=True)


if __name__ == "__main__":
    main()
