"""Compare the training throughput of this project with Lightning, Keras and plain PyTorch on the same networks.

    pip install --constraint constraints.txt --constraint constraints-test.txt '.[bench]'
    python -m benchmarks.throughput [--rounds 3] [--threads 2] [NETWORK ...]

Each measurement is a new process. Each round measures every trainer once, so that a slower machine affects all of them,
and each ratio is the median over the rounds. "ours" is this project's training loop with data loading, augmentation,
weight averaging and learning rate schedule. "plain" is a plain PyTorch step on one batch. Lightning has the same
augmentation, applied sample by sample.
"""

from __future__ import annotations

import argparse
import functools
import os
import statistics
import subprocess
import sys
from collections.abc import Callable

from benchmarks.networks import BATCH_SIZE, IMAGE_SIZE, NETWORKS, Workload

OURS = "ours"
BASELINES = ("lightning", "lightning, tuned", "plain", "plain, tuned", "keras")
TUNED = "bfloat16 and channels_last"


def main() -> None:
    """Print one row of throughputs per network, then one row of ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", metavar="NETWORK", help=", ".join(NETWORKS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--worker", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        network, trainer = args.worker
        print(measure(network, trainer, Workload(args.threads)))
        return
    names = args.networks or list(NETWORKS)
    print(f"images/s, {IMAGE_SIZE} x {IMAGE_SIZE} px, batches of {BATCH_SIZE}, {args.threads} threads; tuned: {TUNED}")
    _print_row("", (OURS, *BASELINES))
    ratios = {name: _compare_trainers(name, args.rounds, args.threads) for name in names}
    print("\nours relative to")
    _print_row("", BASELINES)
    for name, row in ratios.items():
        _print_row(name, [f"{row[baseline]:.2f} x" if baseline in row else "" for baseline in BASELINES])


def _compare_trainers(network: str, num_rounds: int, num_threads: int) -> dict[str, float]:
    """Print the median images per second of each trainer; return the median ratio of ours to each baseline."""
    trainers = [OURS, *(baseline for baseline in BASELINES if baseline != "keras" or network == "keras_pets")]
    measured: dict[str, list[float]] = {trainer: [] for trainer in trainers}
    for _ in range(num_rounds):
        for trainer in trainers:
            command = [sys.executable, "-m", "benchmarks.throughput", "--threads", str(num_threads)]
            env = {**os.environ, "OMP_NUM_THREADS": str(num_threads)}
            output = subprocess.run(
                [*command, "--worker", network, trainer], env=env, check=True, text=True,
                stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            ).stdout  # fmt: skip
            measured[trainer].append(float(output.split()[-1]))
    medians = {trainer: f"{statistics.median(values):.1f}" for trainer, values in measured.items()}
    _print_row(network, [medians.get(trainer, "") for trainer in (OURS, *BASELINES)])
    return {
        baseline: statistics.median(a / b for a, b in zip(measured[OURS], measured[baseline], strict=True))
        for baseline in trainers[1:]
    }


def _print_row(name: str, values: tuple[str, ...] | list[str]) -> None:
    print(f"{name:<12}" + "".join(f"{value:>18}" for value in values), flush=True)


def measure(network: str, trainer: str, workload: Workload) -> float:
    """Measure one trainer in this process, without importing the packages of the others; return images per second."""
    baseline, _, tuned = trainer.partition(", ")
    precision = "bfloat16" if tuned else "float32"
    function: Callable[[str, Workload], float]
    if baseline == OURS:
        from benchmarks.pipeline_loop import measure_images_per_second as function
    elif baseline == "keras":
        from benchmarks.baselines.keras import measure_images_per_second as measure_keras

        return measure_keras(workload.num_threads)
    elif baseline == "lightning":
        from benchmarks.baselines.lightning import measure_images_per_second as measure_lightning

        function = functools.partial(measure_lightning, precision=precision)
    else:
        from benchmarks.baselines.plain import measure_images_per_second as measure_plain

        function = functools.partial(measure_plain, precision=precision)
    return function(network, workload)


if __name__ == "__main__":
    main()
