"""Comparisons over seeds: which rate is best, which seed stands for it, and whether two rates really differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from scipy import stats


def spread(values: Sequence[float]) -> tuple[float | None, float | None]:
    """Mean and sample standard deviation; None where there are too few values for it."""
    return fmean(values) if values else None, stdev(values) if len(values) > 1 else None


def median_place(values: Sequence[float]) -> int:
    """The place of the median; of an even number of values the lower one, so that it is always one of them."""
    order = sorted(range(len(values)), key=lambda place: (values[place], place))
    return order[(len(values) - 1) // 2]


@dataclass(frozen=True)
class PairedDifference:
    """`first` minus `second`, seed by seed: what differs is the treatment, not the luck of the seed.

    Attributes:
        mean: over the seeds.
        lower: how many seeds have first < second.
        seeds: how many there are.
        interval: of the mean at 95 %, by Student's t (Biometrika 6, 1908); None for fewer than two seeds.
        p: two-sided, of the seeds differing so much where the treatments do not; None likewise.
    """

    mean: float
    lower: int
    seeds: int
    interval: tuple[float, float] | None
    p: float | None


def paired_difference(first: dict[int, float], second: dict[int, float]) -> PairedDifference | None:
    """Compare two sets of values by seed, over the seeds that both have; None where they share none."""
    shared = sorted(set(first) & set(second))
    if not shared:
        return None
    differences = [first[seed] - second[seed] for seed in shared]
    mean, sd = spread(differences)
    assert mean is not None
    interval = p = None
    if sd is not None:
        error = sd / len(shared) ** 0.5
        reach = float(stats.t.ppf(0.975, len(shared) - 1)) * error
        interval = (mean - reach, mean + reach)
        # Seeds without any spread: equal, or different beyond doubt.
        p = float(2 * stats.t.sf(abs(mean) / error, len(shared) - 1)) if error > 0 else float(mean == 0)
    return PairedDifference(mean, sum(difference < 0 for difference in differences), len(shared), interval, p)


def holm(values: Sequence[float]) -> list[float]:
    """p-values corrected for being several (Holm, Scandinavian Journal of Statistics 6, 1979), in their order."""
    order = sorted(range(len(values)), key=lambda place: values[place])
    corrected, highest = [0.0] * len(values), 0.0
    for rank, place in enumerate(order):
        highest = max(highest, min(1.0, (len(values) - rank) * values[place]))
        corrected[place] = highest
    return corrected
