"""Images a second without gradients: the network alone, the yardstick of an epoch, and an evaluation's confidence too.

    python -m benchmarks.inference [--size 96] [NETWORK ...]

One thread. All three go through `pipeline.inference.prediction`, the only way that training and evaluation run a
network; its batches are of 32. Rounds alternate, medians are printed.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch

from benchmarks.workload import CLASSES, NETWORKS, made_up
from pipeline.data.batch_loader import BatchLoader
from pipeline.evaluate.calibration import ConfidenceCollector
from pipeline.inference.prediction import MAX_BATCH_SIZE, predict_split
from pipeline.models.factory import build_network
from pipeline.models.malloc import disable_malloc_trim
from pipeline.models.precision import autocast_context, resolve_precision

IMAGES, ROUNDS = 3 * MAX_BATCH_SIZE, 5


def rates(network: str, size: int) -> list[float]:
    """Images a second: the network alone, with the yardstick, with confidence."""
    torch.manual_seed(0)
    split, precision = made_up(IMAGES, size), resolve_precision("auto")
    built = build_network(NETWORKS[network], channels=3, classes=CLASSES).to(memory_format=torch.channels_last).eval()
    cpu = torch.device("cpu")
    images, _ = BatchLoader(split, cpu).take(np.arange(MAX_BATCH_SIZE))

    def alone() -> None:
        with torch.inference_mode(), autocast_context(precision, cpu):
            for _ in range(IMAGES // MAX_BATCH_SIZE):
                built(images)

    works: list[Callable[[], object]] = [
        alone,
        lambda: predict_split(built, split, CLASSES, precision),
        lambda: predict_split(built, split, CLASSES, precision, ConfidenceCollector(CLASSES)),
    ]
    found: list[list[float]] = [[] for _ in works]
    for number in range(ROUNDS + 1):
        for work, seconds in zip(works, found, strict=True):
            started = time.perf_counter()
            work()
            if number:  # the first is warm-up
                seconds.append(time.perf_counter() - started)
    return [IMAGES / statistics.median(seconds) for seconds in found]


def main() -> None:
    """A row a network."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", metavar="NETWORK", help=", ".join(NETWORKS))
    parser.add_argument("--size", type=int, default=96, help="px")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    disable_malloc_trim()
    print(f"{'images a second':<16}{'network alone':>16}{'yardstick':>16}{'confidence too':>16}")
    for name in arguments.networks or NETWORKS:
        print(f"{name:<16}" + "".join(f"{rate:>16.0f}" for rate in rates(name, arguments.size)), flush=True)


if __name__ == "__main__":
    main()
