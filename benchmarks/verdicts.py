"""How often the verdict is right, on made-up curves that leave no doubt.

    python benchmarks/verdicts.py [--repetitions 1000]

The class shares alone cost 0.9 nats. Clear is: validation settles at 1.05 to 1.3 times the training loss (learning), at
1.8 to 3 times (memorizing), rises by 10 to 40 % from its lowest point, which is at least 8 standard deviations of an
epoch's noise (overfitting), or training ends above 0.93 of what the class shares cost (underfitting).
"""

from __future__ import annotations

import argparse
from collections import Counter

import numpy as np

from pipeline.analysis.curves import LossCurves
from pipeline.analysis.verdict import VerdictWord, judge

BASELINE = 0.9
WORDS: tuple[VerdictWord, ...] = ("learning", "memorizing", "overfitting", "underfitting")


def curves(word: VerdictWord, generator: np.random.Generator) -> LossCurves:
    """A training that deserves the word."""
    epochs = int(generator.integers(12, 80))
    time, low = np.linspace(0, 1, epochs), generator.uniform(0.1, 0.3)
    fall = generator.uniform(0.3, 0.6) * np.exp(-time / generator.uniform(0.03, 0.15))
    train, noise = low + fall - 0.02 * time, generator.uniform(0.002, 0.01)
    if word == "underfitting":
        train = BASELINE * (generator.uniform(0.94, 0.99) + 0.02 * (1 - time))
    times = generator.uniform(1.8, 3) if word == "memorizing" else generator.uniform(1.05, 1.3)
    val = times * (low - 0.02) + fall if word != "underfitting" else train * 1.02
    if word == "overfitting":
        knee, least = generator.uniform(0.3, 0.7), generator.uniform(0.1, 0.4)
        rise = max(least * val.min(), 8 * noise)
        val = val + (rise + fall.min()) * np.maximum(0, time - knee) / (1 - knee)
    noisy = [side + noise * generator.normal(size=epochs) for side in (train, val)]
    return LossCurves(tuple(range(1, epochs + 1)), *noisy)


def main() -> None:
    """Print a line a kind of training."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=1000)
    repetitions = parser.parse_args().repetitions
    print(f"{'clearly':14}{'right':>8}{'without a baseline':>20}   otherwise said")
    for word in WORDS:
        generator = np.random.default_rng(1)
        cases = [curves(word, generator) for _ in range(repetitions)]
        said = Counter(judge(case, BASELINE).word for case in cases)
        alone = sum(judge(case).word == word for case in cases)
        others = ", ".join(f"{other} {count}" for other, count in said.most_common() if other != word)
        print(f"{word:14}{said[word] / repetitions:8.1%}{alone / repetitions:20.1%}   {others}", flush=True)


if __name__ == "__main__":
    main()
