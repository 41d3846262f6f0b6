"""Measure how the time of a run is spent: training, evaluation and bookkeeping per epoch, and time outside of epochs.

    python -m benchmarks.epoch_budget [--latency 0.05]

Run it in the project's folder after `pipeline prepare`, with nothing else running; `make bench` does this. It trains
one cell per variant of the grid, with the grid's first learning rate and seed, each in its own process. Runs are logged
to a temporary SQLite store, or with `--latency` to an MLflow server that delays each response by that many seconds. The
project is not changed.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.latency_proxy import start_delayed_server
from benchmarks.project import link_prepared_data
from benchmarks.timing import MethodTimer
from pipeline.artifacts.project import RUNS
from pipeline.artifacts.run_folder import RunFolder
from pipeline.errors import PipelineError
from pipeline.params.file import read_params

if TYPE_CHECKING:  # not imported here, because the time of these imports is measured
    import numpy as np
    from numpy.typing import NDArray

EPOCH_COLUMNS = ("training", "evaluation", "checkpoint", "history", "tracking", "bookkeeping")
CELL_COLUMNS = ("imports", "first step", "other", "MLflow", "evaluate", "images/s", "GB")


def measure_cell(variant: str) -> None:
    """Train and evaluate one cell in the current folder, and print its row."""
    process_start = time.perf_counter()
    import resource

    from pipeline.data.batch_loader import Batch, BatchLoader
    from pipeline.evaluate.evaluate_run import evaluate_run
    from pipeline.tracking.background_logger import BackgroundLogger
    from pipeline.train.checkpoints import CheckpointManager
    from pipeline.train.run_results import RunResults
    from pipeline.train.train_cell import train_cell

    import_seconds = time.perf_counter() - process_start
    params = read_params()
    cell = params.cell(variant, params.grid.learning_rate[0], params.grid.seed[0])
    timers = {
        "checkpoint": MethodTimer(CheckpointManager, "save"),
        "history": MethodTimer(RunResults, "add"),
        "tracking": MethodTimer(BackgroundLogger, "update"),
        "MLflow": MethodTimer(BackgroundLogger, "close"),
    }
    take, first_step = BatchLoader.take, list[float]()

    def take_and_record(self: BatchLoader, indices: NDArray[np.int64]) -> Batch:
        first_step[:] = first_step or [time.perf_counter()]
        return take(self, indices)

    BatchLoader.take = take_and_record  # type: ignore[method-assign]
    start = time.perf_counter()
    with BackgroundLogger(params) as logger:
        train_cell(cell, publish=logger.update)
        logger.finish(cell.name)
    train_seconds = time.perf_counter() - start
    timing = json.loads((RUNS / cell.name / RunFolder.TIMING).read_bytes())
    seconds = {"training": timing["training_seconds"], "evaluation": timing["eval_seconds"]}
    seconds |= {name: timer.seconds for name, timer in timers.items()}
    per_epoch = {name: seconds[name] / cell.train.epochs for name in EPOCH_COLUMNS if name in seconds}
    bookkeeping = 1 - per_epoch["training"] / sum(per_epoch.values())
    start = time.perf_counter()
    evaluate_run(params, cell.name)
    evaluate_seconds = time.perf_counter() - start
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    row = "".join(f"{value:>12.3f}" for value in per_epoch.values()) + f"{bookkeeping:>12.0%}"
    other = train_seconds - sum(seconds.values())
    cell_values = (import_seconds, first_step[0] - process_start, other, seconds["MLflow"], evaluate_seconds)
    row += "".join(f"{value:>12.2f}" for value in (*cell_values, timing["images_per_second"], memory))
    print(f"{variant:<14}{row}", flush=True)


@contextlib.contextmanager
def open_store(folder: Path, latency: float) -> Iterator[str]:
    """Yield the tracking URI of a temporary MLflow store."""
    if not latency:
        yield f"sqlite:///{folder}/mlflow.db"
        return
    with start_delayed_server(folder, latency) as uri:
        yield uri


def main() -> None:
    """Print one row per variant."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--latency", type=float, default=0.0, help="seconds by which the server delays each response")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        measure_cell(args.worker)
        return
    params = read_params()
    print("seconds per epoch, and seconds per cell outside of its epochs")
    print(" " * 14 + "".join(f"{column:>12}" for column in (*EPOCH_COLUMNS, *CELL_COLUMNS)))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        link_prepared_data(Path.cwd(), folder)
        with open_store(folder, args.latency) as uri:
            env = {**os.environ, "MLFLOW_TRACKING_URI": uri, "PYTHONPATH": str(Path(__file__).parents[1])}
            for variant in params.grid.variant:
                command = [sys.executable, "-m", "benchmarks.epoch_budget", "--worker", variant]
                subprocess.run(command, cwd=folder, env=env, check=True)


if __name__ == "__main__":
    try:
        main()
    except PipelineError as error:
        raise SystemExit(str(error)) from None
