"""Test whether a series rises, from the order of its values alone, so that single outliers do not matter.

Mann, Nonparametric tests against trend (Econometrica 13, 1945); Kendall, Rank correlation methods (1948). This is
`scipy.stats.kendalltau(range(N), values, alternative="greater")` without scipy, whose import would double the time that
`pipeline judge` takes.
"""

from __future__ import annotations

import functools
import math

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

MAX_EXACT = 40  # longer series use the normal approximation


def compute_rise_p_value(values: Floats) -> float:
    """Compute the one-sided p-value of the Mann-Kendall test that values (N) do not rise; 1 for fewer than two.

    It is the probability of at least as many increasing pairs in a random order. Equal values count as not increasing,
    which makes the test conservative.
    """
    length = len(values)
    if length < 2:
        return 1.0
    increasing = int(np.triu(values[None, :] > values[:, None], k=1).sum())
    num_pairs = length * (length - 1) // 2
    if length <= MAX_EXACT:
        counts = _count_orders(length)
        return sum(counts[increasing:]) / sum(counts)
    deviation = math.sqrt(length * (length - 1) * (2 * length + 5) / 72)
    return 0.5 * math.erfc((increasing - 0.5 - num_pairs / 2) / deviation / math.sqrt(2))


@functools.cache
def _count_orders(length: int) -> tuple[int, ...]:
    """Count the orders of `length` different values by their number of increasing pairs."""
    if length < 2:
        return (1,)
    shorter = _count_orders(length - 1)
    counts = [0] * (len(shorter) + length - 1)
    for pairs, count in enumerate(shorter):  # the last value can exceed 0 to length - 1 of the others
        for added in range(length):
            counts[pairs + added] += count
    return tuple(counts)
