"""How many images a second the training loop takes, and how many others do: the same networks, in one run.

    pip install --constraint constraints.txt --constraint constraints-test.txt '.[bench]'
    python -m benchmarks.throughput [--rounds 3] [--threads 2] [NETWORK ...]

Each number is a process of its own, and a round asks every trainer once, so that a machine that slows down slows all
of them; a ratio is the median of the rounds' ratios. Ours is this project's loop with data, augmentation, averaging and
schedule. The plain ones are a bare step in PyTorch on one batch; Lightning has the same augmentation sample by sample.
"""

from __future__ import annotations

import argparse
import functools
import os
import statistics
import subprocess
import sys
from collections.abc import Callable

from benchmarks.workload import BATCH, NETWORKS, SIZE

OURS = "ours"
PEERS = ("lightning", "lightning, tuned", "plain", "plain, tuned", "keras")
TUNED = "bfloat16 and channels_last"


def main() -> None:
    """Print a row a network, then the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", metavar="NETWORK", help=", ".join(NETWORKS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(_measure(*arguments.one, arguments.threads))
        return
    names = arguments.networks or list(NETWORKS)
    print(f"images a second, {SIZE} x {SIZE} px, batches of {BATCH}, {arguments.threads} threads; tuned: {TUNED}")
    _print_row("", (OURS, *PEERS))
    ratios = {name: _compared(name, arguments.rounds, arguments.threads) for name in names}
    print("\nours against")
    _print_row("", PEERS)
    for name, row in ratios.items():
        _print_row(name, [f"{row[peer]:.2f} x" if peer in row else "" for peer in PEERS])


def _compared(network: str, rounds: int, threads: int) -> dict[str, float]:
    """Prints the medians of a network's images a second; returns the medians of the rounds' ratios."""
    trainers = [OURS, *(peer for peer in PEERS if peer != "keras" or network == "keras_pets")]
    found: dict[str, list[float]] = {trainer: [] for trainer in trainers}
    for _ in range(rounds):
        for trainer in trainers:
            command = [sys.executable, "-m", "benchmarks.throughput", "--threads", str(threads)]
            variables = {**os.environ, "OMP_NUM_THREADS": str(threads)}
            said = subprocess.run(
                [*command, "--one", network, trainer], env=variables, check=True, text=True,
                stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            ).stdout  # fmt: skip
            found[trainer].append(float(said.split()[-1]))
    _print_row(network, [f"{statistics.median(found[name]):.1f}" if name in found else "" for name in (OURS, *PEERS)])
    return {
        name: statistics.median(ours / theirs for ours, theirs in zip(found[OURS], found[name], strict=True))
        for name in trainers[1:]
    }


def _print_row(name: str, values: tuple[str, ...] | list[str]) -> None:
    print(f"{name:<12}" + "".join(f"{value:>18}" for value in values), flush=True)


def _measure(network: str, trainer: str, threads: int) -> float:
    """Peers are imported here: each is a package of its own."""
    peer, _, tuned = trainer.partition(", ")
    precision = "bfloat16" if tuned else "float32"
    measure: Callable[[str, int], float]
    if peer == OURS:
        from benchmarks.peers.ours import images_per_second as measure
    elif peer == "keras":
        from benchmarks.peers.keras import images_per_second as of_keras

        return of_keras(threads)
    elif peer == "lightning":
        from benchmarks.peers.lightning import images_per_second as of_lightning

        measure = functools.partial(of_lightning, precision=precision)
    else:
        from benchmarks.peers.plain import images_per_second as of_plain

        measure = functools.partial(of_plain, precision=precision)
    return measure(network, threads)


if __name__ == "__main__":
    main()
