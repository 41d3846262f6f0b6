"""Measure how accurately onsets of overfitting are found in simulated validation curves with a known onset.

    python -m benchmarks.onsets [--repetitions 1000]

Curves fall exponentially or as a power of the epoch, and have noise with a standard deviation of 1. `sharp` curves
rise linearly from some epoch on, by 8 to 30 in total. `smooth` curves are the sum of a fall and of a gradual rise of
the same size: linear, quadratic, with a soft knee, or leveling off. `falling` and `flat` curves do not rise. The true
onset is the minimum of the curve without noise.

The last columns show how often three early-stopping criteria with their usual thresholds would stop these trainings.
The criteria are relative to the loss, so a constant of 20 is added to the curves; the noise is then 5% of the loss.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np

from benchmarks.early_stopping import compute_generalization_loss, compute_progress_quotient, count_successive_rises
from pipeline.analysis.overfitting_onset import find_onset

LEVEL = 20.0
MIN_RISE = 8.0


def simulate_sharp_rise(rng: np.random.Generator) -> np.ndarray:
    """Simulate a curve with a fall, a knee and a linear rise."""
    num_epochs = int(rng.integers(20, 80))
    epochs, knee = np.arange(num_epochs), int(rng.uniform(0.25, 0.75) * num_epochs)
    fall = rng.uniform(10, 60) * np.exp(-epochs / (rng.uniform(0.2, 0.5) * knee))
    return fall + rng.uniform(8, 30) * np.maximum(0, epochs - knee) / (num_epochs - 1 - knee)


def simulate_smooth_rise(rng: np.random.Generator) -> np.ndarray:
    """Simulate a curve that is the sum of a fall and a gradual rise."""
    num_epochs = int(rng.integers(20, 80))
    epochs, time = np.arange(num_epochs), np.linspace(0, 1, num_epochs)
    soft_knee = np.logaddexp(0, (epochs - rng.uniform(0.2, 0.6) * num_epochs) / (rng.uniform(0.05, 0.15) * num_epochs))
    shapes = [time, time**2, soft_knee - soft_knee[0], 1 - np.exp(-time / rng.uniform(0.3, 1))]
    shape = shapes[rng.integers(4)]
    return _simulate_fall(num_epochs, rng) + rng.uniform(8, 30) * shape / shape[-1]


def simulate_fall(rng: np.random.Generator) -> np.ndarray:
    """Simulate a curve that only falls."""
    return _simulate_fall(int(rng.integers(10, 80)), rng)


def simulate_flat(rng: np.random.Generator) -> np.ndarray:
    """Simulate a constant curve."""
    return np.zeros(int(rng.integers(10, 80)))


def _simulate_fall(num_epochs: int, rng: np.random.Generator) -> np.ndarray:
    """Simulate a fall that has ended, or nearly ended, at the last epoch."""
    epochs, height = np.arange(num_epochs), rng.uniform(10, 60)
    if rng.random() < 0.6:
        return height * np.exp(-epochs / rng.uniform(0.05, 0.25) / num_epochs)
    return height * (epochs + 1.0) ** -rng.uniform(0.5, 1.2)


RISING: dict[str, Callable[[np.random.Generator], np.ndarray]] = {
    "sharp": simulate_sharp_rise,
    "smooth": simulate_smooth_rise,
}
NOT_RISING: dict[str, Callable[[np.random.Generator], np.ndarray]] = {"falling": simulate_fall, "flat": simulate_flat}


def main() -> None:
    """Print one row per kind of curve."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=1000)
    repetitions = parser.parse_args().repetitions
    onset_columns = f"{'':10}{'found':>8}{'doubtful':>10}{'within 2':>10}{'covered':>9}{'width':>7}"
    print(f"{onset_columns}{'GL 5':>8}{'PQ 0.5':>8}{'UP 3':>8}")
    for kind in (*RISING, *NOT_RISING):
        _print_row(kind, repetitions)


def _print_row(kind: str, repetitions: int) -> None:
    simulate = (RISING | NOT_RISING)[kind]
    rng, found, num_doubtful, num_stopped = np.random.default_rng(1), [], 0, np.zeros(3)
    for _ in range(repetitions):
        curve = simulate(rng)
        # The minimum of a smooth curve may be near its end, so that there is no rise to find.
        while kind in RISING and curve[-1] - curve.min() < MIN_RISE:
            curve = simulate(rng)
        val = LEVEL + curve + rng.normal(size=len(curve))
        num_stopped += apply_early_stopping(val)
        search = find_onset(val)
        num_doubtful += search.is_doubtful
        if search.onset:
            found.append((search.onset, int(curve.argmin())))
    shares = f"{kind:10}{len(found) / repetitions:8.1%}{num_doubtful / repetitions:10.1%}"
    accuracy = " " * 26
    if kind in RISING:
        near = np.mean([abs(onset.index - truth) <= 2 for onset, truth in found])
        covered = np.mean([onset.low <= truth <= onset.high for onset, truth in found])
        width = np.median([onset.high - onset.low for onset, _ in found])
        accuracy = f"{near:10.1%}{covered:9.1%}{width:7.0f}"
    print(shares + accuracy + "".join(f"{count / repetitions:8.1%}" for count in num_stopped), flush=True)


def apply_early_stopping(val: np.ndarray) -> np.ndarray:
    """Return whether each of three criteria stops a training with these validation losses.

    The training loss is simulated: it falls to about half of its initial value.
    """
    train = LEVEL * (0.5 + 0.5 * np.exp(-3 * np.linspace(0, 1, len(val))))
    quotient = compute_progress_quotient(train, val)
    return np.array(
        [compute_generalization_loss(val).max() > 5, np.nanmax(quotient) > 0.5, count_successive_rises(val).max() >= 3]
    )


if __name__ == "__main__":
    main()
