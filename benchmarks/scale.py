"""Measure the overhead of a sweep of 100, 300 and 1,000 cells in which training is replaced by one second of sleep.

    python -m benchmarks.scale [CELLS ...]

Run it in the project's folder; the largest grid takes long. Everything except training and evaluation is real: DVC,
worker processes, and run folders with the usual number of files. There are as many workers as cores. The overhead is
the wall time in addition to that of the trainings, per cell. `again s` is the CPU time of a second sweep, in which all
cells are up to date.
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
from benchmarks.timing import MethodTimer
from pipeline.artifacts.format import FORMAT
from pipeline.artifacts.project import EVALUATION, RUNS, Project
from pipeline.artifacts.run_folder import RunFolder, RunRecord
from pipeline.atomic_io import atomic_directory, to_json
from pipeline.params import Params
from pipeline.params.file import read_params
from pipeline.sweep import pool, run_sweep
from pipeline.sweep.dvc_internals.stages import DvcStages
from pipeline.sweep.worker import STOP, Job, JobResult

TRAINING_SECONDS = 1.0
RUN_FILES = (RunFolder.HISTORY, RunFolder.IMAGE_LOSSES, RunFolder.SHOWCASE_MASKS, RunFolder.WEIGHTS, RunFolder.TIMING)


def sleep_and_write(pipe: Connection, params: Params, root: Path) -> None:
    """Serve jobs as `pipeline.sweep.worker.serve` does, but sleep instead of training."""
    del params
    while (job := pipe.recv()) != STOP:
        assert isinstance(job, Job)
        name = job.cell.name
        time.sleep(TRAINING_SECONDS)
        record = RunRecord(FORMAT, name, name, "finished", 1, 1, None, "float32", 1, "data", {})
        for folder in (RUNS, EVALUATION):
            with atomic_directory(root / folder / name) as temporary:
                (temporary / RunFolder.RECORD).write_text(to_json(record), encoding="utf-8")
                for file in RUN_FILES:
                    (temporary / file).write_text(f"{name} {file}", encoding="utf-8")
        pipe.send(JobResult(job, trained=True, evaluated=True, message="slept"))


def measure_grid(num_cells: int) -> None:
    """Sweep a grid twice in this process, the second time with nothing to do, and print its row."""
    methods = ("reproduce", "find_stale", "restore", "hash_dependencies", "commit", "update_lock")
    dvc_timer = MethodTimer(DvcStages, *methods)
    pool.serve = sleep_and_write
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder).resolve() / "project"
        changes = {
            "data": {"image_size": 32, "samples": {"train": 12, "validation": 6, "test": 6}},
            "grid": {"variant": ["unet"], "learning_rate": [0.01], "seed": list(range(num_cells))},
        }
        copy_project(root, changes)
        os.chdir(root)
        DvcStages(root).reproduce("prepare")
        params, num_workers = read_params(), os.cpu_count() or 1
        timings = []
        for _ in range(2):
            dvc_timer.seconds, start, cpu_start = 0.0, time.perf_counter(), time.process_time()
            with Path(os.devnull).open("w") as silent, redirect_stdout(silent), redirect_stderr(silent):
                assert run_sweep.sweep(params, num_workers, (), None, Project(Path())) == 0
            timings.append((time.perf_counter() - start, dvc_timer.seconds, time.process_time() - cpu_start))
        (wall, dvc, _), (_, _, again) = timings
        overhead = (wall - num_cells * TRAINING_SECONDS / num_workers) / num_cells
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        row = f"{num_cells:>6}{wall:>10.0f}{overhead:>12.2f}{dvc / num_cells:>10.2f}{memory:>10.2f}{again:>10.0f}"
        print(row, flush=True)


def main() -> None:
    """Print one row per grid, each measured in a new process, because peak memory never decreases."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cells", metavar="CELLS", type=int, nargs="*", default=[100, 300, 1000])
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        measure_grid(*args.cells)
        return
    print(f"{'cells':>6}{'wall s':>10}{'overhead s':>12}{'DVC s':>10}{'GB':>10}{'again s':>10}")
    for num_cells in args.cells:
        subprocess.run([sys.executable, "-m", "benchmarks.scale", str(num_cells), "--worker"], check=True)


if __name__ == "__main__":
    main()
