"""Measure the time from the start of `pipeline train` to its first training step, and the time of imports.

    python -m benchmarks.start_up [--rounds 5]

Run it in the project's folder after `pipeline prepare`. Each measurement is a new process. Each round measures every
command once. Times and ratios are medians over the rounds, and ratios are relative to importing torch. The project is
not changed.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.project import link_prepared_data
from pipeline.params.file import read_params

IMPORT_TORCH = "import torch"
# At its first step, an optimizer of torch imports torch's compiler, which no training can avoid.
ADAMW_STEP = (
    "import torch; w = torch.nn.Parameter(torch.ones(1)); w.grad = torch.ones(1); torch.optim.AdamW([w]).step()"
)
# Exits when the second batch is requested, at the end of the first step.
FIRST_STEP = """
import os, sys
from pipeline.data import batch_loader
take = batch_loader.BatchLoader.take
calls = []
def take_once(self, indices):
    calls.append(indices)
    if len(calls) > 1:
        os._exit(0)
    return take(self, indices)
batch_loader.BatchLoader.take = take_once
from pipeline.cli import main
sys.argv[1:] = ["train", "--variant", "{}", "--learning-rate", "{}", "--seed", "{}"]
main()
"""


def measure_seconds(code: str, folder: Path) -> float:
    """Return the duration of a Python process that runs the code, including the start of the interpreter."""
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), "MLFLOW_TRACKING_URI": ""}
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], cwd=folder, env=env, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def main() -> None:
    """Print one row per command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    num_rounds = parser.parse_args().rounds
    params = read_params()
    learning_rate, seed = params.grid.learning_rate[0], params.grid.seed[0]
    commands = {
        "import torch": IMPORT_TORCH,
        "one step of torch's AdamW": ADAMW_STEP,
        "import smp": "import segmentation_models_pytorch",
    }
    commands |= {
        f"first step of {variant}": FIRST_STEP.format(variant, learning_rate, seed) for variant in params.grid.variant
    }
    commands |= {
        f"import {name}": f"import pipeline.{name}"
        for name in ("evaluate.evaluate_run", "compare.compare_runs", "report.write_report")
    }
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        link_prepared_data(Path.cwd(), root)
        measured: dict[str, list[float]] = {name: [] for name in commands}
        for number in range(num_rounds + 1):
            for name, code in commands.items():
                seconds = measure_seconds(code, root)
                if number:  # the first round fills the page cache
                    measured[name].append(seconds)
    for name, values in measured.items():
        ratio = statistics.median(a / b for a, b in zip(values, measured["import torch"], strict=True))
        print(f"{name:<30}{statistics.median(values):>7.2f} s{ratio:>8.2f} x")


if __name__ == "__main__":
    main()
