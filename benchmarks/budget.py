"""Where the seconds of a cell go: an epoch's training and its bookkeeping, and what stands around the epochs.

    python -m benchmarks.budget [--latency 0.05]

Run in the project's folder after `pipeline prepare`, alone on the machine; `make bench` does. One cell a variant of the
grid, at the grid's first rate and seed, each in a process of its own, tracked into an SQLite store of its own, or into
a server whose answers come so many seconds late; nothing of the project is changed.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.distant import distant_server
from benchmarks.project import lend_prepared
from benchmarks.stopwatch import Stopwatch
from pipeline.artifacts.project import RUNS
from pipeline.artifacts.run_folder import RunFolder
from pipeline.atomic_io import read_json
from pipeline.errors import PipelineError
from pipeline.params.file import read_params

if TYPE_CHECKING:  # what a cell imports is measured
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

EPOCH = ("training", "evaluation", "checkpoint", "history", "tracking", "bookkeeping")
AROUND = ("imports", "first step", "around", "telling", "evaluation", "images/s", "GB")


def budget(variant: str) -> None:
    """Train and evaluate one cell in the current folder, and print its row."""
    born = time.perf_counter()
    import resource

    from pipeline.data.batch_loader import BatchLoader
    from pipeline.evaluate.evaluate_run import evaluate_run
    from pipeline.tracking.background_logger import BackgroundLogger
    from pipeline.train.checkpoints import CheckpointManager
    from pipeline.train.run_writer import RunWriter
    from pipeline.train.train_cell import train_cell

    imports = time.perf_counter() - born
    params = read_params()
    cell = params.cell(variant, params.grid.learning_rate[0], params.grid.seed[0])
    watches = {
        "checkpoint": Stopwatch(CheckpointManager, "save"),
        "history": Stopwatch(RunWriter, "add"),
        "tracking": Stopwatch(BackgroundLogger, "log_epoch", "log_folder", "set_tags"),
        "telling": Stopwatch(BackgroundLogger, "end"),
    }
    take, begun = BatchLoader.take, list[float]()

    def noted(self: BatchLoader, places: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        begun[:] = begun or [time.perf_counter()]
        return take(self, places)

    BatchLoader.take = noted  # type: ignore[method-assign]
    started = time.perf_counter()
    with BackgroundLogger(params) as logger:
        train_cell(cell, publish=logger.update)
        logger.finish(cell.name)
    whole = time.perf_counter() - started
    timing = read_json(RUNS / cell.name / RunFolder.TIMING, "pipeline train")
    spent = {"training": timing["training_seconds"], "evaluation": timing["eval_seconds"]}
    spent |= {name: watch.seconds for name, watch in watches.items()}
    epoch = {name: spent[name] / cell.train.epochs for name in EPOCH if name in spent}
    bookkeeping = 1 - epoch["training"] / sum(epoch.values())
    started = time.perf_counter()
    evaluate_run(params, cell.name)
    evaluation = time.perf_counter() - started
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    row = "".join(f"{seconds:>12.3f}" for seconds in epoch.values()) + f"{bookkeeping:>12.0%}"
    around = (imports, begun[0] - born, whole - sum(spent.values()), spent["MLflow"], evaluation)
    row += "".join(f"{seconds:>12.2f}" for seconds in (*around, timing["images_per_second"], memory))
    print(f"{variant:<14}{row}", flush=True)


@contextlib.contextmanager
def store(folder: Path, latency: float) -> Iterator[str]:
    """The address of a store to track into."""
    if not latency:
        yield f"sqlite:///{folder}/mlflow.db"
        return
    with distant_server(folder, latency) as address:
        yield address


def main() -> None:
    """Print a row a variant."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--latency", type=float, default=0.0, help="seconds until a server answers")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        budget(arguments.one)
        return
    params = read_params()
    print("seconds of an epoch, and of a cell around its epochs")
    print(" " * 14 + "".join(f"{column:>12}" for column in (*EPOCH, *AROUND)))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        lend_prepared(Path.cwd(), folder)
        with store(folder, arguments.latency) as address:
            variables = {**os.environ, "MLFLOW_TRACKING_URI": address, "PYTHONPATH": str(Path(__file__).parents[1])}
            for variant in params.grid.variant:
                command = [sys.executable, "-m", "benchmarks.budget", "--one", variant]
                subprocess.run(command, cwd=folder, env=variables, check=True)


if __name__ == "__main__":
    try:
        main()
    except PipelineError as error:
        raise SystemExit(str(error)) from None
