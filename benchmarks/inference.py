"""Measure the speed of inference: the network alone, with evaluation losses, and with calibration statistics.

    python -m benchmarks.inference [--size 96] [NETWORK ...]

Inference runs on one thread in batches of 32. Losses and statistics are computed by `predict_split`, which training and
evaluation use for all networks. Rounds alternate between the three cases, and medians are printed.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch

from benchmarks.networks import NETWORKS, NUM_CLASSES, create_random_split
from pipeline.data.batch_loader import BatchLoader
from pipeline.inference.confidence import ConfidenceCollector
from pipeline.inference.prediction import MAX_BATCH_SIZE, predict_split
from pipeline.models.factory import build_network
from pipeline.models.precision import autocast_context, resolve_precision
from pipeline.runtime.operating_system import disable_malloc_trim

NUM_IMAGES, NUM_ROUNDS = 3 * MAX_BATCH_SIZE, 5


def measure_images_per_second(network: str, size: int) -> list[float]:
    """Return images per second of the network alone, with losses, and with losses and calibration statistics."""
    torch.manual_seed(0)
    split, precision = create_random_split(NUM_IMAGES, size), resolve_precision("auto")
    model = build_network(NETWORKS[network], channels=3, classes=NUM_CLASSES)
    model = model.to(memory_format=torch.channels_last).eval()
    cpu = torch.device("cpu")
    images, _, _ = BatchLoader(split, cpu).take(np.arange(MAX_BATCH_SIZE))

    def run_network() -> None:
        with torch.inference_mode(), autocast_context(precision, cpu):
            for _ in range(NUM_IMAGES // MAX_BATCH_SIZE):
                model(images)

    functions: list[Callable[[], object]] = [
        run_network,
        lambda: predict_split(model, split, NUM_CLASSES, precision),
        lambda: predict_split(model, split, NUM_CLASSES, precision, ConfidenceCollector(NUM_CLASSES)),
    ]
    measured: list[list[float]] = [[] for _ in functions]
    for number in range(NUM_ROUNDS + 1):
        for function, seconds in zip(functions, measured, strict=True):
            start = time.perf_counter()
            function()
            if number:  # the first round is warm-up
                seconds.append(time.perf_counter() - start)
    return [NUM_IMAGES / statistics.median(seconds) for seconds in measured]


def main() -> None:
    """Print one row per network."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", metavar="NETWORK", help=", ".join(NETWORKS))
    parser.add_argument("--size", type=int, default=96, help="side of the images, px")
    args = parser.parse_args()
    torch.set_num_threads(1)
    disable_malloc_trim()
    print(f"{'images/s':<16}{'network alone':>18}{'with losses':>18}{'with calibration':>18}")
    for name in args.networks or NETWORKS:
        row = "".join(f"{value:>18.0f}" for value in measure_images_per_second(name, args.size))
        print(f"{name:<16}{row}", flush=True)


if __name__ == "__main__":
    main()
