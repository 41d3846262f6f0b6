"""Comparisons over seeds: which rate is best, which seed stands for it, and whether two rates really differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev


def spread(values: Sequence[float]) -> tuple[float | None, float | None]:
    """Mean and sample standard deviation; None where there are too few values for it."""
    return fmean(values) if values else None, stdev(values) if len(values) > 1 else None


def median_place(values: Sequence[float]) -> int:
    """The place of the median; of an even number of values the lower one, so that it is always one of them."""
    order = sorted(range(len(values)), key=lambda place: (values[place], place))
    return order[(len(values) - 1) // 2]


@dataclass(frozen=True)
class PairedDifference:
    """`first` minus `second`, seed by seed: what differs is the treatment, not the luck of the seed."""

    mean: float
    lower: int  # seeds with first < second
    seeds: int

    @property
    def one_sided(self) -> bool:
        """All seeds agree in the sign. With three seeds chance alone does that one time in four: a hint, no proof."""
        return self.seeds > 1 and self.lower in (0, self.seeds)


def paired_difference(first: dict[int, float], second: dict[int, float]) -> PairedDifference | None:
    """Compare two sets of values by seed, over the seeds that both have; None where they share none."""
    shared = sorted(set(first) & set(second))
    if not shared:
        return None
    differences = [first[seed] - second[seed] for seed in shared]
    return PairedDifference(fmean(differences), sum(difference < 0 for difference in differences), len(shared))
