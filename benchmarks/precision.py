"""Compare training in bfloat16 with training in float32 by the lowest validation loss of each of the grid's seeds.

    python -m benchmarks.precision [VARIANT ...]

Run it in the project's folder after `pipeline prepare`. Each variant is trained at the middle learning rate of the
grid. Its row has the mean difference between the precisions and, for comparison, the range of the losses in float32
over the seeds. `throughput.py` measures the speed.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path

from benchmarks.project import link_prepared_data
from pipeline.artifacts.project import Project
from pipeline.params import Params
from pipeline.params.file import read_params
from pipeline.train.train_cell import train_cell

PRECISIONS = ("float32", "bfloat16")


def train_seeds(params: Params, variant: str, root: Path) -> dict[str, list[float]]:
    """Return the lowest validation losses by precision, one per seed in the order of the grid."""
    learning_rates, lowest = params.grid.learning_rate, dict[str, list[float]]()
    for precision in PRECISIONS:
        for seed in params.grid.seed:
            cell = params.cell(variant, learning_rates[len(learning_rates) // 2], seed)
            cell = cell.model_copy(update={"train": cell.train.model_copy(update={"precision": precision})})
            train_cell(cell, Project(root))
            lowest.setdefault(precision, []).append(float(Project(root).run(cell.name).history["val_loss"].min()))
    return lowest


def main() -> None:
    """Print one row per variant."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("variants", nargs="*", metavar="VARIANT")
    variants = parser.parse_args().variants
    params = read_params()
    print(f"{'best val loss':<16}{PRECISIONS[0]:>26}{PRECISIONS[1]:>26}{'mean difference':>18}{'range of seeds':>18}")
    for variant in variants or params.grid.variant:
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            link_prepared_data(Path.cwd(), root)
            losses = train_seeds(params, variant, root)
        columns = "".join(f"{' '.join(f'{loss:.4f}' for loss in losses[name]):>26}" for name in PRECISIONS)
        pairs = zip(*(losses[name] for name in PRECISIONS), strict=True)
        difference = statistics.mean(bfloat16 - float32 for float32, bfloat16 in pairs)
        seed_range = max(losses["float32"]) - min(losses["float32"])
        print(f"{variant:<16}{columns}{difference:>+18.4f}{seed_range:>18.4f}", flush=True)


if __name__ == "__main__":
    main()
