"""Statistics over seeds: means, the median seed, paired differences, and correction for multiple comparisons."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from scipy.special import stdtr, stdtrit  # of Student's t; importing scipy.stats takes half a second longer

SIGNIFICANT = 0.05  # significance level, Fisher's convention; after Holm's correction if there are several tests


def compute_mean_and_sd(values: Iterable[float | None]) -> tuple[float | None, float | None]:
    """Compute the mean and the sample standard deviation of the values that are not None.

    The mean is None without values, and the deviation is None for fewer than two values.
    """
    defined = [value for value in values if value is not None]
    return fmean(defined) if defined else None, stdev(defined) if len(defined) > 1 else None


def summarize_seeds(values: Iterable[float | None]) -> tuple[float | None, float | None]:
    """Compute the mean and the sample standard deviation over seeds; both are None if a seed's value is None.

    A metric can be undefined because a run predicts too little, so a mean over the other seeds would be too good.
    """
    listed = list(values)
    return (None, None) if None in listed else compute_mean_and_sd(listed)


def find_median_index(values: Sequence[float]) -> int:
    """Return the index of the median, or of the lower middle value if the number of values is even."""
    order = sorted(range(len(values)), key=lambda index: (values[index], index))
    return order[(len(values) - 1) // 2]


@dataclass(frozen=True)
class PairedDifference:
    """Difference `first` minus `second`, paired by seed to remove the variation that both share."""

    mean: float  # mean over the seeds, or over the folds of a cross-validation
    num_lower: int  # number of seeds with first < second
    num_seeds: int  # number of seeds that both have
    # 95% confidence interval of the mean by Student's t (Biometrika 6, 1908); None for fewer than two seeds
    interval: tuple[float, float] | None
    p_value: float | None  # p-value of Student's two-sided test that the mean is 0; None for fewer than two seeds


def compute_paired_difference(
    first: Mapping[int, float], second: Mapping[int, float], *, folds: int | None = None
) -> PairedDifference | None:
    """Compare two mappings from seed to value over their common seeds.

    The runs of a cross-validation are not independent, because their training images overlap. Their variance is
    therefore corrected by the ratio of validation to training images (Nadeau and Bengio, Inference for the
    generalization error, Machine Learning 52, 2003). Seeds of the same fold are averaged first.

    Args:
        first: Values by seed.
        second: Values by seed.
        folds: Number of folds of the cross-validation; None without one.

    Returns:
        The difference; None if there is no common seed.
    """
    shared = sorted(set(first) & set(second))
    if not shared:
        return None
    by_seed = {seed: first[seed] - second[seed] for seed in shared}
    num_lower = sum(difference < 0 for difference in by_seed.values())
    differences = list(by_seed.values())
    if folds is not None:
        places = sorted({seed % folds for seed in shared})
        differences = [fmean(by_seed[seed] for seed in shared if seed % folds == place) for place in places]
    mean, sd = compute_mean_and_sd(differences)
    assert mean is not None
    interval = p_value = None
    if sd is not None:
        overlap = 0.0 if folds is None else 1 / (folds - 1)  # validation images per training image
        error = sd * (1 / len(differences) + overlap) ** 0.5
        degrees = len(differences) - 1
        margin = float(stdtrit(degrees, 0.975)) * error
        interval = (mean - margin, mean + margin)
        # Without variation between seeds, the two sides are either equal or certainly different.
        p_value = float(2 * stdtr(degrees, -abs(mean) / error)) if error > 0 else float(mean == 0)
    return PairedDifference(mean, num_lower, len(shared), interval, p_value)


def adjust_p_values(p_values: Sequence[float]) -> list[float]:
    """Adjust p-values for multiple comparisons by Holm's method (Scandinavian Journal of Statistics 6, 1979)."""
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    adjusted, highest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = highest
    return adjusted
