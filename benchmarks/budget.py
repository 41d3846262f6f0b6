"""Where the seconds of a cell go: imports, setting up, training, bookkeeping, tracking, writing, evaluation.

Run in the project's folder after `pipeline prepare`, alone on the machine: `make bench`. One cell a variant of the
grid, at the grid's first rate and seed, tracked into an SQLite store of its own; nothing of the project is changed.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from pipeline import runs
from pipeline.errors import PipelineError
from pipeline.files import read_json
from pipeline.params import Params
from pipeline.params.file import read_params

COLUMNS = ("imports", "training", "yardstick", "tracking", "the rest", "evaluation", "images/s")


def main() -> None:
    """Print a row a variant."""
    root = Path.cwd()
    params = read_params(root / "params.yaml")
    if not (root / runs.PREPARED).exists():
        raise SystemExit("data/prepared is missing; `pipeline prepare` makes it")
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        (copy / runs.PREPARED).parent.mkdir(parents=True)
        (copy / runs.PREPARED).symlink_to(root / runs.PREPARED)
        os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{copy / 'mlflow.db'}"
        print(f"{'seconds a cell':<16}" + "".join(f"{column:>12}" for column in COLUMNS))
        for variant in params.grid.variant:
            numbers = cell_budget(params, variant, copy)
            print(f"{variant:<16}" + "".join(f"{number:12.1f}" for number in numbers), flush=True)


def cell_budget(params: Params, variant: str, root: Path) -> tuple[float, ...]:
    """Seconds by `COLUMNS` for one cell, and images a second while training."""
    from pipeline.evaluate.stage import evaluate_run
    from pipeline.tracking.mirror import Mirror
    from pipeline.train.stage import train_cell

    imports = import_seconds()
    tracked = Stopwatch(Mirror._attempt)
    Mirror._attempt = lambda self, action: tracked(self, action)  # type: ignore[method-assign]
    cell = params.cell(variant, params.grid.learning_rate[0], params.grid.seed[0])
    started = time.perf_counter()
    train_cell(params, cell, root)
    whole = time.perf_counter() - started
    timing = read_json(root / runs.RUNS / cell.name / runs.TIMING, "pipeline train")
    tracking = tracked.seconds
    started = time.perf_counter()
    evaluate_run(params, cell.name, root)
    evaluation = time.perf_counter() - started
    Mirror._attempt = tracked.function  # type: ignore[method-assign]
    training, watching = timing["training_seconds"], timing["watching_seconds"]
    rest = whole - training - watching - tracking
    return imports, training, watching, tracking, rest, evaluation, timing["images_per_second"]


def import_seconds() -> float:
    """What a process of its own spends before it can train: under `dvc repro` in each cell, under a sweep once."""
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import pipeline.train.stage, mlflow"], check=True)
    return time.perf_counter() - started


class Stopwatch:
    """A function that adds up the seconds spent in it."""

    def __init__(self, function: Callable[..., None]) -> None:
        self.function = function
        self.seconds = 0.0

    def __call__(self, *arguments: object) -> None:
        """Call the function and count its seconds."""
        started = time.perf_counter()
        self.function(*arguments)
        self.seconds += time.perf_counter() - started


if __name__ == "__main__":
    try:
        main()
    except PipelineError as error:
        raise SystemExit(str(error)) from None
