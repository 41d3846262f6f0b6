"""Measure the statistics of a cross-validation in simulation.

    python -m benchmarks.folds [--repetitions 1000]

1. How often the test of a paired difference rejects the hypothesis that two equally good methods are equal, with and
   without the correction of Nadeau and Bengio (2003). Two models see different features of the same samples, with the
   same distribution, so that their expected errors are equal.
2. How often the 95% interval of a setting's gap over all folds covers the true gap. Networks of different folds have
   learned differently well, images differ, and the images of a group resemble each other.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.analysis.out_of_fold import estimate_folded_gap
from pipeline.analysis.seed_statistics import compute_paired_difference

Floats = npt.NDArray[np.float64]
Learner = Callable[[Floats, Floats, Floats], Floats]  # training samples, their targets, and validation samples
SIGNIFICANT = 0.05
TRUE_GAP = 0.05


def fit_linear(x: Floats, y: Floats, new: Floats) -> Floats:
    """Predict by least squares."""
    return np.asarray(new @ np.linalg.lstsq(x, y, rcond=None)[0])


def find_nearest(x: Floats, y: Floats, new: Floats) -> Floats:
    """Predict the target of the nearest training sample."""
    return y[((new[:, None] - x[None]) ** 2).sum(-1).argmin(1)]


def fit_stump(x: Floats, y: Floats, new: Floats) -> Floats:
    """Predict the mean target on each side of the best median split."""
    medians = np.median(x, axis=0)
    low = x < medians
    errors = [y[side].var() * side.sum() + y[~side].var() * (~side).sum() for side in low.T]
    best = int(np.argmin(errors))
    return np.where(new[:, best] < medians[best], y[low[:, best]].mean(), y[~low[:, best]].mean())


# Learner, number of samples, folds, features of each model, seeds per fold
DESIGNS: list[tuple[str, Learner, int, int, int, int]] = [
    (name, learner, *design)
    for name, learner in (("linear", fit_linear), ("nearest neighbor", find_nearest), ("stump", fit_stump))
    for design in ((50, 5, 5, 1), (50, 5, 15, 1), (150, 5, 40, 1), (150, 10, 40, 1), (150, 3, 40, 1), (100, 5, 5, 3))
]


def simulate_errors(
    learner: Learner, num_samples: int, folds: int, num_features: int, seeds: int, rng: np.random.Generator
) -> tuple[dict[int, float], dict[int, float]]:
    """Cross-validate two equally good models; return their squared errors by seed.

    Several seeds of a fold differ in the training samples, which are then drawn with replacement.
    """
    x = rng.normal(size=(num_samples, 2 * num_features))
    y = x.sum(1) / np.sqrt(2 * num_features) + rng.normal(size=num_samples)
    fold = np.empty(num_samples, np.int64)
    fold[rng.permutation(num_samples)] = np.arange(num_samples) * folds // num_samples
    errors: tuple[dict[int, float], dict[int, float]] = ({}, {})
    for seed in range(folds * seeds):
        training, validation = np.flatnonzero(fold != seed % folds), fold == seed % folds
        if seeds > 1:
            training = rng.choice(training, len(training))
        for side, columns in zip(errors, (slice(0, num_features), slice(num_features, None)), strict=True):
            predicted = learner(x[training, columns], y[training], x[validation, columns])
            side[seed] = float(np.mean((predicted - y[validation]) ** 2))
    return errors


def print_false_positives(repetitions: int) -> None:
    """Print the share of significant differences between equally good models."""
    rng = np.random.default_rng(0)
    print("model              samples  folds  features  seeds   t test  corrected")
    for name, learner, *design in DESIGNS:
        found = np.zeros(2)
        for _ in range(repetitions):
            first, second = simulate_errors(learner, *design, rng)
            for place, folds in enumerate((None, design[1])):
                difference = compute_paired_difference(first, second, folds=folds)
                assert difference is not None
                assert difference.p_value is not None
                found[place] += difference.p_value < SIGNIFICANT
        shares = "  ".join(f"{share:>7.1%}" for share in found / repetitions)
        print(f"{name:<18} {design[0]:>7}  {design[1]:>5}  {design[2]:>8}  {design[3]:>5}  {shares}", flush=True)


def simulate_losses(
    sizes: tuple[int, ...], per_group: int, seeds: int, level_sd: float, rng: np.random.Generator
) -> tuple[pd.DataFrame, pd.Series[int], npt.NDArray[np.int64]]:
    """Draw the losses of a setting; a fifth of the variance of the image gaps is that of their groups.

    Args:
        sizes: Number of groups in each fold.
        per_group: Number of images in each group.
        seeds: Number of runs, which are validated on the folds in turn.
        level_sd: Standard deviation of the runs' levels.
        rng: Random numbers.

    Returns:
        Losses, pixels and groups of the images, as for `estimate_folded_gap`.
    """
    num_groups, folds = sum(sizes), len(sizes)
    group = np.repeat(np.arange(num_groups), per_group)
    fold, num_images = np.repeat(np.arange(folds), sizes)[group], len(group)
    base = 0.3 + rng.normal(0, 0.1, num_images) + rng.normal(0, 0.05, num_groups)[group]
    gap = TRUE_GAP + rng.normal(0, 0.06, num_images) + rng.normal(0, 0.03, num_groups)[group]
    names = [str(image) for image in range(num_images)]
    tables = []
    for run, level in enumerate(rng.normal(0, level_sd, seeds)):
        is_validation = fold == run % folds
        losses = base + level + gap * is_validation + rng.normal(0, 0.01, num_images)
        split = np.where(is_validation, "validation", "train")
        tables.append(pd.DataFrame({"run": f"run{run}", "id": names, "split": split, "loss": losses}))
    return pd.concat(tables), pd.Series(100, index=names), group


def print_coverage(repetitions: int) -> None:
    """Print how often the interval of the gap covers the true gap, and its mean width."""
    rng = np.random.default_rng(0)
    print("groups by fold          images  seeds  sd of the runs   covered   width")
    for sizes, per_group, seeds, level_sd in (
        ((10,) * 5, 1, 5, 0.0),
        ((10,) * 5, 1, 5, 0.1),
        ((10,) * 5, 4, 5, 0.05),
        ((10,) * 10, 1, 10, 0.05),
        ((4,) * 5, 3, 5, 0.05),
        ((10,) * 5, 1, 6, 0.1),
        ((17, 17, 16), 1, 4, 0.1),
        ((30, 5, 5, 5, 5), 1, 5, 0.1),
    ):
        covered, widths = 0, []
        for _ in range(repetitions):
            losses, pixels, group = simulate_losses(sizes, per_group, seeds, level_sd, rng)
            found = estimate_folded_gap(losses, pixels, (group,), True, 0.0)
            assert found is not None
            assert found.low is not None
            assert found.high is not None
            covered += found.low <= TRUE_GAP <= found.high
            widths.append(found.high - found.low)
        named = f"{len(sizes)} x {sizes[0]}" if len(set(sizes)) == 1 else ", ".join(map(str, sizes))
        print(
            f"{named:<22}  {sum(sizes) * per_group:>6}  {seeds:>5}  {level_sd:>14}  {covered / repetitions:>8.1%}  "
            f"{np.mean(widths):.3f}",
            flush=True,
        )


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=1000)
    arguments = parser.parse_args()
    print_false_positives(arguments.repetitions)
    print_coverage(arguments.repetitions)


if __name__ == "__main__":
    main()
