"""Measure the cost of reading and augmenting images, as a share of a training step.

    python -m benchmarks.dataloader [--rounds 5] [--threads 1]

The training loop of this project runs on one batch repeatedly, on memory-mapped images, and on memory-mapped images
with augmentation. Rounds alternate between the three, and each cost is the median over the rounds.
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

from benchmarks.networks import NUM_CLASSES, create_cell, create_random_split
from pipeline.artifacts.prepared_data import Split
from pipeline.data.batch_loader import Batch, BatchLoader
from pipeline.models.factory import build_network
from pipeline.models.precision import resolve_precision
from pipeline.runtime.operating_system import disable_malloc_trim
from pipeline.train import loop

CASES = (("unet16", 96, 4), ("lite0", 96, 4), ("unet16", 160, 32), ("lite0", 160, 32))  # network, px, batch size
NUM_IMAGES = 64  # per epoch
MIN_SECONDS = 4.0  # per measurement
ONE_BATCH, FROM_DISK, AUGMENTED = "one batch", "from disk", "augmented"
SOURCES = (ONE_BATCH, FROM_DISK, AUGMENTED)


def write_split(folder: Path, size: int) -> Split:
    """Write random images as `pipeline prepare` does, and memory-map them as in training."""
    split = create_random_split(NUM_IMAGES, size)
    for name, array in (("images", np.stack(list(split.images))), ("masks", np.stack(list(split.masks)))):
        np.save(folder / f"{name}-{size}.npy", array)
    images, masks = (np.load(folder / f"{name}-{size}.npy", mmap_mode="r") for name in ("images", "masks"))
    return Split.of(images, masks)


def start_training(
    network: str, split: Split, batch_size: int, num_threads: int, augmented: bool
) -> Iterator[loop.Epoch]:
    """Start a training that yields epochs practically without end."""
    cell = create_cell(network, batch_size, num_threads)
    params = cell.train if augmented else cell.train.model_copy(update={"augmentation": None})
    eval_split = split.take(np.arange(1))
    eval_splits = loop.EvalSplits(eval_split, eval_split, eval_split)
    torch.manual_seed(0)
    model = build_network(cell.model, channels=3, classes=NUM_CLASSES)
    precision = resolve_precision(params.precision)
    return loop.train(model, split, eval_splits, params, 1e-3, 0, NUM_CLASSES, precision)


def measure_images_per_second(training: Iterator[loop.Epoch]) -> float:
    """Continue a training for at least `MIN_SECONDS`, and return its throughput."""
    images, seconds = 0, 0.0
    while seconds < MIN_SECONDS:
        epoch = next(training)
        images, seconds = images + epoch.images, seconds + epoch.training_seconds
    return images / seconds


def measure_case(network: str, size: int, batch_size: int, num_threads: int, num_rounds: int, folder: Path) -> None:
    """Measure a network, and print its row."""
    disable_malloc_trim()
    torch.set_num_threads(num_threads)
    split, take = write_split(folder, size), BatchLoader.take
    images, masks, _ = take(BatchLoader(split, torch.device("cpu")), np.arange(batch_size))

    def take_first(_: BatchLoader, indices: npt.NDArray[np.int64]) -> Batch:
        return Batch(images[: len(indices)], masks[: len(indices)])

    trainings = {
        source: start_training(network, split, batch_size, num_threads, augmented=source == AUGMENTED)
        for source in SOURCES
    }
    measured: dict[str, list[float]] = {source: [] for source in SOURCES}
    for number in range(num_rounds + 1):
        for source, training in trainings.items():
            BatchLoader.take = take_first if source == ONE_BATCH else take  # type: ignore[method-assign]
            images_per_second = measure_images_per_second(training)
            if number:  # the first round is warm-up
                measured[source].append(images_per_second)
    BatchLoader.take = take  # type: ignore[method-assign]
    medians = "".join(f"{statistics.median(measured[source]):>14.1f}" for source in SOURCES)
    costs = (
        statistics.median(1 - slower / faster for faster, slower in zip(measured[before], measured[after], strict=True))
        for before, after in pairwise(SOURCES)
    )
    print(f"{network:<10}{size:>5}{batch_size:>7}{medians}" + "".join(f"{cost:>16.1%}" for cost in costs), flush=True)


def main() -> None:
    """Print one row per case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    columns = "".join(f"{source:>14}" for source in SOURCES)
    print(f"{'images/s':<10}{'px':>5}{'batch':>7}{columns}{'reading':>16}{'augmenting':>16}")
    with tempfile.TemporaryDirectory() as folder:
        for network, size, batch_size in CASES:
            measure_case(network, size, batch_size, args.threads, args.rounds, Path(folder))


if __name__ == "__main__":
    main()
