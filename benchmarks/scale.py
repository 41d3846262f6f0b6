"""Measure the overhead of a sweep: grids of 100, 300 and 1,000 cells whose training sleeps for a second.

Run in the project's folder: `python -m benchmarks.scale`; the last grid takes long. Everything except training is real:
DVC, worker processes, run folders with the usual number of files. One row per grid. Overhead is the wall time per cell
in addition to its training, with as many workers as cores.
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
from pipeline.artifacts.format import FORMAT
from pipeline.artifacts.project import EVALUATION, RUNS
from pipeline.artifacts.run_folder import RunFolder, RunRecord
from pipeline.atomic_io import as_json, replacing
from pipeline.params import Params
from pipeline.params.file import read_params
from pipeline.sweep import pool, run_sweep
from pipeline.sweep.dvc_internals.stages import DvcStages
from pipeline.sweep.worker import STOP, Job, JobResult

SECONDS = 1.0  # of a training
FILES = (RunFolder.HISTORY, RunFolder.IMAGE_LOSSES, RunFolder.SHOWCASE_MASKS, RunFolder.WEIGHTS, RunFolder.TIMING)


def sleep_and_write(pipe: Connection, params: Params, root: Path) -> None:
    """Replace `pipeline.sweep.worker.serve`, without networks."""
    del params
    while (job := pipe.recv()) != STOP:
        assert isinstance(job, Job)
        name = job.cell.name
        time.sleep(SECONDS)
        record = RunRecord(FORMAT, name, name, "finished", 1, 1, None, "float32", 1, "data", {})
        for folder in (RUNS, EVALUATION):
            with replacing(root / folder / name) as new:
                (new / RunFolder.RECORD).write_text(as_json(record), encoding="utf-8")
                for file in FILES:
                    (new / file).write_text(f"{name} {file}", encoding="utf-8")
        pipe.send(JobResult(job, trained=True, evaluated=True, message="slept"))


def measure(cells: int) -> None:
    """Sweep a grid in this process, then again with nothing to do, and print a row."""
    methods = ("reproduce", "find_stale", "restore", "hash_dependencies", "commit", "update_lock")
    in_dvc = Stopwatch(DvcStages, *methods)
    pool.serve = sleep_and_write
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder).resolve() / "project"
        changes = {
            "data": {"image_size": 32, "samples": {"train": 12, "validation": 6, "test": 6}},
            "grid": {"variant": ["unet"], "learning_rate": [0.01], "seed": list(range(cells))},
        }
        copy_project(root, changes)
        os.chdir(root)
        DvcStages(root).reproduce("prepare")
        found, jobs = read_params(), os.cpu_count() or 1
        rows = []
        for _ in range(2):
            in_dvc.seconds, started = 0.0, time.perf_counter()
            with Path(os.devnull).open("w") as silent, redirect_stdout(silent), redirect_stderr(silent):
                assert run_sweep.sweep(found, jobs, (), None, Path()) == 0
            rows.append((time.perf_counter() - started, in_dvc.seconds))
        (wall, dvc), (again, _) = rows
        overhead = (wall - cells * SECONDS / jobs) / cells
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        print(f"{cells:>6}{wall:>10.0f}{overhead:>12.2f}{dvc / cells:>10.2f}{memory:>10.2f}{again:>10.0f}", flush=True)


def main() -> None:
    """Run each grid in a process of its own, since the peak memory of a process never falls."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cells", type=int, nargs="*", default=[100, 300, 1000])
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        measure(*arguments.cells)
        return
    print(f"{'cells':>6}{'wall s':>10}{'overhead s':>12}{'DVC s':>10}{'GB':>10}{'again s':>10}")
    for cells in arguments.cells:
        subprocess.run([sys.executable, "-m", "benchmarks.scale", str(cells), "--one"], check=True)


if __name__ == "__main__":
    main()
