"""How long a cell of its own takes from its command to its first step, and what of that is imports.

    python -m benchmarks.start_up [--rounds 5]

Run in the project's folder after `pipeline prepare`. Each number is a new process; in each round all are asked once,
and a ratio is the median of the rounds' ratios to importing torch alone. Nothing of the project is changed.
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

from benchmarks.project import lend_prepared
from pipeline.params.file import read_params

TORCH = "import torch"
# At its first step a torch optimizer imports torch's compiler, only to keep it away: nobody trains without.
STEP = "import torch; w = torch.nn.Parameter(torch.ones(1)); w.grad = torch.ones(1); torch.optim.AdamW([w]).step()"
# Ends with the first step, before which everything has to be there; timed from outside, interpreter included.
FIRST_STEP = """
import os, sys
from pipeline.data import batch_loader as batches
take = batches.BatchLoader.take
calls = []
def noted(self, places):
    calls.append(places)
    if len(calls) > 1:
        os._exit(0)
    return take(self, places)
batches.BatchLoader.take = noted
from pipeline.cli import main
sys.argv[1:] = ["train", "--variant", "{}", "--learning-rate", "{}", "--seed", "{}"]
main()
"""


def seconds(code: str, folder: Path) -> float:
    """Of a process that runs some code."""
    variables = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), "MLFLOW_TRACKING_URI": ""}
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], cwd=folder, env=variables, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def main() -> None:
    """A row a command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    params = read_params()
    rate, seed = params.grid.learning_rate[0], params.grid.seed[0]
    codes = {"import torch": TORCH, "a step of torch's AdamW": STEP, "import smp": "import segmentation_models_pytorch"}
    codes |= {f"first step of {name}": FIRST_STEP.format(name, rate, seed) for name in params.grid.variant}
    codes |= {f"import {name}": f"import pipeline.{name}.stage" for name in ("evaluate", "compare", "report")}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        lend_prepared(Path.cwd(), folder)
        found: dict[str, list[float]] = {name: [] for name in codes}
        for number in range(rounds + 1):
            for name, code in codes.items():
                one = seconds(code, folder)
                if number:  # the first fills the page cache
                    found[name].append(one)
    for name, values in found.items():
        ratio = statistics.median(a / b for a, b in zip(values, found["import torch"], strict=True))
        print(f"{name:<30}{statistics.median(values):>7.2f} s{ratio:>8.2f} x")


if __name__ == "__main__":
    main()
