"""Measure how often the 95% interval of a gap covers the true gap, on simulated losses.

    python -m benchmarks.gap_intervals [--repetitions 1000]

Losses of images are lognormal and may be correlated within groups. The best epoch is selected on the validation images
from which the interval is computed, and the compared training images are a sample of all training images. The true gap
is the expected validation loss at the selected epoch minus the mean loss of all training images.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass

import numpy as np

from pipeline.analysis.clustered_mean import GroupedLosses
from pipeline.analysis.gap_interval import estimate_gap

NUM_EPOCHS = 15
TRAIN_FACTOR = 4  # number of training images divided by the number of compared ones


@dataclass(frozen=True)
class Population:
    """Distribution of the losses, and the number of images that are drawn from it."""

    name: str
    groups: tuple[int, ...]  # number of groups, by kind of group
    num_images: int
    skew: float  # sigma of the lognormal losses
    group_variance: float  # share of the variance that images of a group have in common


POPULATIONS = [
    Population("60 images, no groups", (60,), 60, 0.6, 0.0),
    Population("60 images, no groups, very skewed", (60,), 60, 1.0, 0.0),
    Population("60 images of 15 groups", (15,), 60, 0.6, 0.5),
    Population("60 images of 10 groups", (10,), 60, 0.6, 0.5),
    Population("200 images of 40 groups", (40,), 200, 0.6, 0.5),
    Population("48 images, 17 animals on 10 backgrounds", (17, 10), 48, 0.6, 0.5),
    Population("100 images, 30 animals on 20 backgrounds", (30, 20), 100, 0.6, 0.5),
]


def simulate_losses(population: Population, curve: np.ndarray, rng: np.random.Generator) -> GroupedLosses:
    """Simulate the losses of new images at every epoch; `curve` has the expected loss of each epoch."""
    labels = tuple(np.arange(population.num_images) % groups for groups in population.groups)
    labels = (labels[0], *(rng.permutation(kind) for kind in labels[1:]))
    deviation = rng.normal(size=population.num_images) * np.sqrt(1 - population.group_variance)
    for kind, groups in zip(labels, population.groups, strict=True):
        deviation += (rng.normal(size=groups) * np.sqrt(population.group_variance / len(labels)))[kind]
    level = np.exp(population.skew * deviation - population.skew**2 / 2)  # mean 1
    # Each loss also varies independently between epochs, which biases the lowest mean.
    changes = np.exp(0.25 * rng.normal(size=(len(curve), population.num_images)) - 0.25**2 / 2)
    return GroupedLosses(curve[:, None] * level * changes, np.full(population.num_images, 4096), labels)


def simulate_interval(
    population: Population, epoch: int | None, rng: np.random.Generator, num_resamples: int
) -> tuple[bool, float]:
    """Simulate a run; return whether the interval of its gap covers the true gap, and the width of the interval.

    `epoch` is the index of the epoch at which the gap is computed; None for the best epoch.
    """
    decay = 0.3 * np.exp(-np.arange(NUM_EPOCHS) / 3)
    val_curve, train_curve = 0.30 + decay, 0.22 + decay
    val, train = simulate_losses(population, val_curve, rng), simulate_losses(population, train_curve, rng)
    best = int(val.compute_means().argmin()) if epoch is None else epoch
    estimate = estimate_gap(
        val,
        train,
        epoch,
        num_train_images=TRAIN_FACTOR * population.num_images,
        seed=int(rng.integers(2**31)),
        num_resamples=num_resamples,
    )
    assert estimate.low is not None
    assert estimate.high is not None
    # The true training loss is the mean over all training images, including those that are not compared.
    others = [simulate_losses(population, train_curve, rng) for _ in range(TRAIN_FACTOR - 1)]
    train_loss = np.mean([losses.compute_means()[best] for losses in (train, *others)])
    true_gap = val_curve[best] - train_loss
    return bool(estimate.low <= true_gap <= estimate.high), estimate.high - estimate.low


def main() -> None:
    """Print one row per population."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=1000)
    parser.add_argument("--resamples", type=int, default=1000)
    args = parser.parse_args()
    print(f"{'':44}{'best epoch':>12}{'last epoch':>12}{'width':>8}")
    for population in POPULATIONS:
        coverage, width = [], 0.0
        for epoch in (None, NUM_EPOCHS - 1):
            rng = np.random.default_rng(1)
            results = [simulate_interval(population, epoch, rng, args.resamples) for _ in range(args.repetitions)]
            coverage.append(np.mean([is_covered for is_covered, _ in results]))
            width = float(np.median([interval_width for _, interval_width in results]))
        print(f"{population.name:44}{coverage[0]:12.1%}{coverage[1]:12.1%}{width:8.3f}", flush=True)
    population, rng = POPULATIONS[4], np.random.default_rng(1)
    val, train = (simulate_losses(population, np.linspace(0.5, 0.3, 50), rng) for _ in range(2))
    start = time.perf_counter()
    estimate_gap(val, train, None, num_train_images=800)
    print(f"10,000 resamples of {population.name}, 50 epochs: {time.perf_counter() - start:.2f} s")


if __name__ == "__main__":
    main()
