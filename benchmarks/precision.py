"""Whether bfloat16 learns what float32 learns: the best validation loss of three seeds in each, on the bundled images.

    python -m benchmarks.precision [VARIANT ...]

Run in the project's folder after `pipeline prepare`. Each variant at the grid's middle rate, with the grid's seeds. The
difference of a seed's two losses is set against what seeds differ by. Speed is for `throughput.py`.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path

from benchmarks.project import lend_prepared
from pipeline.params import Params
from pipeline.params.file import read_params
from pipeline.train.train_cell import train_cell

PRECISIONS = ("float32", "bfloat16")


def losses(params: Params, variant: str, root: Path) -> dict[str, list[float]]:
    """By precision, a seed's lowest loss on validation, in the grid's order."""
    rates, found = params.grid.learning_rate, dict[str, list[float]]()
    for precision in PRECISIONS:
        for seed in params.grid.seed:
            cell = params.cell(variant, rates[len(rates) // 2], seed)
            cell = cell.model_copy(update={"train": cell.train.model_copy(update={"precision": precision})})
            lowest: list[float] = []
            train_cell(cell, root, lambda epoch, lowest=lowest: lowest.append(epoch.val_loss))  # type: ignore[misc]
            found.setdefault(precision, []).append(min(lowest))
    return found


def main() -> None:
    """A row a variant."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("variants", nargs="*", metavar="VARIANT")
    chosen = parser.parse_args().variants
    params = read_params()
    print(f"{'best val loss':<16}{PRECISIONS[0]:>26}{PRECISIONS[1]:>26}{'mean difference':>18}{'seeds differ by':>18}")
    for variant in chosen or params.grid.variant:
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            lend_prepared(Path.cwd(), root)
            found = losses(params, variant, root)
        columns = "".join(f"{' '.join(f'{loss:.4f}' for loss in found[name]):>26}" for name in PRECISIONS)
        pairs = zip(*(found[name] for name in PRECISIONS), strict=True)
        difference = statistics.mean(bfloat16 - float32 for float32, bfloat16 in pairs)
        spread = max(found["float32"]) - min(found["float32"])
        print(f"{variant:<16}{columns}{difference:>+18.4f}{spread:>18.4f}", flush=True)


if __name__ == "__main__":
    main()
