"""Measure how often the verdict is correct on simulated loss curves with a clear verdict.

    python -m benchmarks.verdicts [--repetitions 1000]

The class-prior baseline is 0.9 nats per pixel. The curves of each verdict are:

- learning: the validation loss ends at 1.05 to 1.3 times the training loss.
- memorizing: the validation loss ends at 1.8 to 3 times the training loss.
- overfitting: the validation loss ends 10 to 40% above its minimum, and at least 8 standard deviations of the noise.
- underfitting: the training loss ends above 0.93 times the baseline.
"""

from __future__ import annotations

import argparse
from collections import Counter

import numpy as np

from pipeline.analysis.curves import LossCurves
from pipeline.analysis.verdict import VerdictWord, judge

BASELINE = 0.9
VERDICTS: tuple[VerdictWord, ...] = ("learning", "memorizing", "overfitting", "underfitting")


def simulate_curves(verdict: VerdictWord, rng: np.random.Generator) -> LossCurves:
    """Simulate the loss curves of a training for which the given verdict is correct."""
    num_epochs = int(rng.integers(12, 80))
    time, low = np.linspace(0, 1, num_epochs), rng.uniform(0.1, 0.3)
    fall = rng.uniform(0.3, 0.6) * np.exp(-time / rng.uniform(0.03, 0.15))
    train, noise = low + fall - 0.02 * time, rng.uniform(0.002, 0.01)
    if verdict == "underfitting":
        train = BASELINE * (rng.uniform(0.94, 0.99) + 0.02 * (1 - time))
    ratio = rng.uniform(1.8, 3) if verdict == "memorizing" else rng.uniform(1.05, 1.3)
    val = ratio * (low - 0.02) + fall if verdict != "underfitting" else train * 1.02
    if verdict == "overfitting":
        knee, relative_rise = rng.uniform(0.3, 0.7), rng.uniform(0.1, 0.4)
        rise = max(relative_rise * val.min(), 8 * noise)
        val = val + (rise + fall.min()) * np.maximum(0, time - knee) / (1 - knee)
    noisy = [curve + noise * rng.normal(size=num_epochs) for curve in (train, val)]
    return LossCurves(tuple(range(1, num_epochs + 1)), *noisy)


def main() -> None:
    """Print one row per verdict."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=1000)
    repetitions = parser.parse_args().repetitions
    print(f"{'true verdict':14}{'correct':>8}{'without a baseline':>20}   other verdicts")
    for verdict in VERDICTS:
        rng = np.random.default_rng(1)
        curves = [simulate_curves(verdict, rng) for _ in range(repetitions)]
        counts = Counter(judge(curve, BASELINE).word for curve in curves)
        num_correct_without = sum(judge(curve).word == verdict for curve in curves)
        others = ", ".join(f"{other} {count}" for other, count in counts.most_common() if other != verdict)
        shares = f"{counts[verdict] / repetitions:8.1%}{num_correct_without / repetitions:20.1%}"
        print(f"{verdict:14}{shares}   {others}", flush=True)


if __name__ == "__main__":
    main()
