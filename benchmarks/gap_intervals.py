"""How often the 95 % interval of a gap covers the truth, on made-up losses whose truth is known.

    python benchmarks/gap_intervals.py [--repetitions 1000]

Losses are grouped and skewed (lognormal), the best epoch is chosen on the same images that the interval comes from, and
the training side is a sample of the images trained on. The truth is the expected gap of the epoch that was chosen.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass

import numpy as np

from pipeline.analysis.gap_interval import GroupedLosses, estimate_gap

EPOCHS = 15


@dataclass(frozen=True)
class World:
    """Where images come from."""

    name: str
    groups: tuple[int, ...]  # of validation, a number a kind
    images: int
    skew: float  # sigma of the lognormal image losses
    shared: float  # share of the losses' variance that images of a group have in common


WORLDS = [
    World("60 images, no groups", (60,), 60, 0.6, 0.0),
    World("60 images, no groups, very skewed", (60,), 60, 1.0, 0.0),
    World("60 images of 15 groups", (15,), 60, 0.6, 0.5),
    World("60 images of 10 groups", (10,), 60, 0.6, 0.5),
    World("200 images of 40 groups", (40,), 200, 0.6, 0.5),
    World("48 images, 17 animals on 10 backgrounds", (17, 10), 48, 0.6, 0.5),
    World("100 images, 30 animals on 20 backgrounds", (30, 20), 100, 0.6, 0.5),
]


def images(world: World, curve: np.ndarray, generator: np.random.Generator) -> GroupedLosses:
    """A set drawn anew: its expected loss at every epoch is the curve."""
    labels = tuple(np.arange(world.images) % groups for groups in world.groups)
    labels = (labels[0], *(generator.permutation(kind) for kind in labels[1:]))
    own = generator.normal(size=world.images) * np.sqrt(1 - world.shared)
    for kind, groups in zip(labels, world.groups, strict=True):
        own += (generator.normal(size=groups) * np.sqrt(world.shared / len(labels)))[kind]
    level = np.exp(world.skew * own - world.skew**2 / 2)  # mean 1
    # From epoch to epoch an image's loss moves on its own: what makes the lowest mean a lucky one.
    moves = np.exp(0.25 * generator.normal(size=(len(curve), world.images)) - 0.25**2 / 2)
    return GroupedLosses(curve[:, None] * level * moves, np.full(world.images, 4096), labels)


def covered(world: World, epoch: int | None, generator: np.random.Generator, resamples: int) -> tuple[bool, float]:
    """Whether one interval covers, and its width."""
    falling = 0.3 * np.exp(-np.arange(EPOCHS) / 3)
    validation, training = 0.30 + falling, 0.22 + falling
    sides = images(world, validation, generator), images(world, training, generator)
    best = int(sides[0].compute_means().argmin()) if epoch is None else epoch
    found = estimate_gap(
        *sides, epoch, num_train_images=4 * world.images, seed=int(generator.integers(2**31)), num_resamples=resamples
    )
    assert found.interval is not None
    # The images compared are a quarter of those trained on; the rest, drawn alike, is what they stand for.
    rest = GroupedLosses(*_joined([images(world, training, generator) for _ in range(3)]))
    seen = (sides[1].compute_means()[best] + 3 * rest.compute_means()[best]) / 4
    truth = validation[best] - seen
    return found.interval.low <= truth <= found.interval.high, found.interval.high - found.interval.low


def _joined(parts: list[GroupedLosses]) -> tuple[np.ndarray, np.ndarray, tuple[np.ndarray, ...]]:
    losses = np.concatenate([part.losses for part in parts], axis=1)
    return losses, np.concatenate([part.pixels for part in parts]), parts[0].groups


def main() -> None:
    """Print a line a world."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=1000)
    parser.add_argument("--resamples", type=int, default=1000)
    options = parser.parse_args()
    print(f"{'':44}{'best epoch':>12}{'last epoch':>12}{'width':>8}")
    for world in WORLDS:
        rates, width = [], 0.0
        for epoch in (None, EPOCHS - 1):
            generator = np.random.default_rng(1)
            found = [covered(world, epoch, generator, options.resamples) for _ in range(options.repetitions)]
            rates.append(np.mean([hit for hit, _ in found]))
            width = float(np.median([size for _, size in found]))
        print(f"{world.name:44}{rates[0]:12.1%}{rates[1]:12.1%}{width:8.3f}", flush=True)
    world, generator = WORLDS[4], np.random.default_rng(1)
    sides = [images(world, np.linspace(0.5, 0.3, 50), generator) for _ in range(2)]
    start = time.perf_counter()
    estimate_gap(sides[0], sides[1], None, num_train_images=800)
    print(f"10,000 resamples of {world.name}, 50 epochs: {time.perf_counter() - start:.2f} s")


if __name__ == "__main__":
    main()
