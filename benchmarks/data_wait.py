"""What a step waits for its data: one batch over and over, against images off the disk, against changed ones.

    python -m benchmarks.data_wait [--rounds 5]

The project's own loop on prepared images, memory-mapped. Rounds alternate between the three, and a ratio is the
median of the rounds' ratios. `--threads` at a time, as one training has them.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from benchmarks.workload import CLASSES, cell, made_up
from pipeline.artifacts.prepared_data import Split
from pipeline.data.batch_loader import BatchLoader
from pipeline.models.factory import build_network
from pipeline.models.malloc import disable_malloc_trim
from pipeline.models.precision import resolve_precision
from pipeline.train import loop

CASES = (("unet16", 96, 4), ("lite0", 96, 4), ("unet16", 160, 32), ("lite0", 160, 32))  # network, px, batch
IMAGES = 64  # an epoch
SECONDS = 4.0  # a measurement
KINDS = ("one batch", "off the disk", "augmented")


def mapped(folder: Path, size: int) -> Split:
    """The images as `prepare` leaves them."""
    split = made_up(IMAGES, size)
    for name, array in (("images", split.images), ("masks", split.masks)):
        np.save(folder / f"{name}-{size}.npy", array)
    images, masks = (np.load(folder / f"{name}-{size}.npy", mmap_mode="r") for name in ("images", "masks"))
    return Split(images, masks, split.ids)


def epochs(network: str, split: Split, batch: int, threads: int, augmented: bool) -> Iterator[loop.Epoch]:
    """A training that goes on for ever."""
    chosen = cell(network, batch, threads)
    settings = chosen.train if augmented else chosen.train.model_copy(update={"augmentation": None})
    few = split.take(np.arange(1))
    torch.manual_seed(0)
    built = build_network(chosen.model, channels=3, classes=CLASSES)
    precision = resolve_precision(settings.precision)
    return loop.train(built, split, loop.EvalSplits(few, few, few), settings, 1e-3, 0, CLASSES, precision)


def rate(training: Iterator[loop.Epoch]) -> float:
    """Images a second."""
    images, seconds = 0, 0.0
    while seconds < SECONDS:
        epoch = next(training)
        images, seconds = images + epoch.images, seconds + epoch.training_seconds
    return images / seconds


def measure(network: str, size: int, batch: int, threads: int, rounds: int, folder: Path) -> None:
    """Print a case's row."""
    disable_malloc_trim()
    torch.set_num_threads(threads)
    split, read = mapped(folder, size), BatchLoader.take
    images, masks = read(BatchLoader(split, torch.device("cpu")), np.arange(batch))

    def over_and_over(_: BatchLoader, places: npt.NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        return images[: len(places)], masks[: len(places)]

    trainings = [epochs(network, split, batch, threads, augmented=kind == KINDS[2]) for kind in KINDS]
    found: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for number in range(rounds + 1):
        for kind, training in zip(KINDS, trainings, strict=True):
            BatchLoader.take = over_and_over if kind == KINDS[0] else read  # type: ignore[method-assign]
            one = rate(training)
            if number:  # the first is warm-up
                found[kind].append(one)
    BatchLoader.take = read  # type: ignore[method-assign]
    rates = "".join(f"{statistics.median(found[kind]):>14.1f}" for kind in KINDS)
    costs = (
        statistics.median(1 - slower / faster for faster, slower in zip(found[before], found[after], strict=True))
        for before, after in pairwise(KINDS)
    )
    print(f"{network:<10}{size:>5}{batch:>7}{rates}" + "".join(f"{cost:>16.1%}" for cost in costs), flush=True)


def main() -> None:
    """A row a case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    heads = "".join(f"{kind:>14}" for kind in KINDS)
    print(f"{'images a second':<15}{'batch':>7}{heads}{'reading costs':>16}{'changing costs':>16}")
    with tempfile.TemporaryDirectory() as folder:
        for network, size, batch in CASES:
            measure(network, size, batch, arguments.threads, arguments.rounds, Path(folder))


if __name__ == "__main__":
    main()
