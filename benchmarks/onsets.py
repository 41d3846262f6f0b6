"""How well onsets are found in made-up curves whose onset is known.

    python benchmarks/onsets.py [--repetitions 1000]

Curves fall (exponentially, or as a power of the epoch) and have noise of standard deviation 1 in every epoch. Those
called `sharp` rise at a constant slope from one epoch on, by 8 to 30 in all; `smooth` ones add a rise of the same size
that begins slowly (linear or quadratic from the start, a soft knee, or one that flattens again); the others never rise.
The truth is the lowest epoch of the curve without its noise.

Beside it: how often three criteria of early stopping, with the thresholds that are usual for them, would have stopped
the same trainings. They are relative to the loss, so the curves stand on a level of 20: the noise is 5 % of the loss.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np

from benchmarks.early_stopping import compute_generalization_loss, compute_progress_quotient, count_successive_rises
from pipeline.analysis.overfitting_onset import find_onset

Curve = Callable[[np.random.Generator], np.ndarray]
LEVEL = 20.0


def falling(epochs: int, generator: np.random.Generator) -> np.ndarray:
    """A fall that is over, or nearly, at the last epoch."""
    place, height = np.arange(epochs), generator.uniform(10, 60)
    if generator.random() < 0.6:
        return height * np.exp(-place / generator.uniform(0.05, 0.25) / epochs)
    return height * (place + 1.0) ** -generator.uniform(0.5, 1.2)


def sharp(generator: np.random.Generator) -> np.ndarray:
    """A knee."""
    epochs = int(generator.integers(20, 80))
    place, knee = np.arange(epochs), int(generator.uniform(0.25, 0.75) * epochs)
    fall = generator.uniform(10, 60) * np.exp(-place / (generator.uniform(0.2, 0.5) * knee))
    return fall + generator.uniform(8, 30) * np.maximum(0, place - knee) / (epochs - 1 - knee)


def smooth(generator: np.random.Generator) -> np.ndarray:
    """No knee, or a soft one."""
    epochs = int(generator.integers(20, 80))
    place, time = np.arange(epochs), np.linspace(0, 1, epochs)
    soft = np.logaddexp(0, (place - generator.uniform(0.2, 0.6) * epochs) / (generator.uniform(0.05, 0.15) * epochs))
    shapes = [time, time**2, soft - soft[0], 1 - np.exp(-time / generator.uniform(0.3, 1))]
    shape = shapes[generator.integers(4)]
    return falling(epochs, generator) + generator.uniform(8, 30) * shape / shape[-1]


def flat(generator: np.random.Generator) -> np.ndarray:
    """Nothing but noise."""
    return np.zeros(int(generator.integers(10, 80)))


def without(generator: np.random.Generator) -> np.ndarray:
    """A fall and no rise."""
    return falling(int(generator.integers(10, 80)), generator)


def main() -> None:
    """Print a line a kind of curve."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=1000)
    repetitions = parser.parse_args().repetitions
    ours = f"{'':10}{'found':>8}{'doubtful':>10}{'within 2':>10}{'covered':>9}{'width':>7}"
    print(f"{ours}{'GL 5':>8}{'PQ 0.5':>8}{'UP 3':>8}")
    for curve in (sharp, smooth, without, flat):
        _line(curve, repetitions)


def _line(curve: Curve, repetitions: int) -> None:
    generator, found, doubtful, stopped = np.random.default_rng(1), [], 0, np.zeros(3)
    for _ in range(repetitions):
        truth = curve(generator)
        # A smooth curve may happen to end near its lowest point: then there is nothing to find.
        while curve in (sharp, smooth) and truth[-1] - truth.min() < 8:
            truth = curve(generator)
        val = LEVEL + truth + generator.normal(size=len(truth))
        stopped += stops(val)
        search = find_onset(val)
        doubtful += search.is_doubtful
        if search.onset:
            found.append((search.onset, int(truth.argmin())))
    rates = f"{curve.__name__:10}{len(found) / repetitions:8.1%}{doubtful / repetitions:10.1%}"
    accuracy = " " * 26
    if curve in (sharp, smooth):
        near = np.mean([abs(onset.index - truth) <= 2 for onset, truth in found])
        covered = np.mean([onset.low <= truth <= onset.high for onset, truth in found])
        accuracy = f"{near:10.1%}{covered:9.1%}{np.median([onset.high - onset.low for onset, _ in found]):7.0f}"
    print(rates + accuracy + "".join(f"{count / repetitions:8.1%}" for count in stopped), flush=True)


def stops(val: np.ndarray) -> np.ndarray:
    """Whether each of the three criteria would have ended the training; its training loss halves."""
    train = LEVEL * (0.5 + 0.5 * np.exp(-3 * np.linspace(0, 1, len(val))))
    quotient = compute_progress_quotient(train, val)
    return np.array(
        [compute_generalization_loss(val).max() > 5, np.nanmax(quotient) > 0.5, count_successive_rises(val).max() >= 3]
    )


if __name__ == "__main__":
    main()
