"""Confidence intervals of scores, from the cluster bootstrap that the gap's interval uses.

A score of a set of images, such as the IoU over all pixels of a class, is not a mean over images. Its jackknife
pseudo-values are numbers, one per image, whose mean is nearly the score (Tukey, Bias and confidence in not quite large
samples, Annals of Mathematical Statistics 29, 1958). The interval of their mean is the interval of the score.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from pipeline.analysis.gap_interval import GroupedLosses, Integers, estimate_gap

Floats = npt.NDArray[np.float64]
Interval = tuple[float, float]


def compute_pseudo_values(sums: Floats, score: Callable[[Floats], Floats]) -> Floats:
    """Compute the pseudo-values of scores that depend on sums over images.

    Args:
        sums: N x K, what each image adds to the K sums.
        score: function that maps sums (R x K) to M scores (R x M), which may be NaN.

    Returns:
        N x M. All are NaN for a score that is undefined without one of the images.
    """
    total, count = sums.sum(axis=0), len(sums)
    whole, without = score(total[None]), score(total - sums)
    values = count * whole - (count - 1) * without
    return np.where(np.isnan(values).any(axis=0), np.nan, values)


def estimate_mean_interval(
    values: Floats, groups: tuple[Integers, ...], limits: Interval = (-np.inf, np.inf), num_resamples: int = 2_000
) -> Interval | None:
    """Estimate the interval of a mean over images at a confidence level of 95 %.

    Args:
        values: N values, one per image; images with NaN are left out.
        groups: one or two arrays of N labels, as in `GroupedLosses`; empty for no interval.
        limits: lowest and highest possible value of the mean.
        num_resamples: number of bootstrap resamples.

    Returns:
        The ends of the interval; None with fewer than ten groups, or if no value is defined.
    """
    defined = np.isfinite(values)
    if not groups or not defined.any():
        return None
    ones = np.ones(int(defined.sum()), np.int64)
    images = GroupedLosses(values[defined][None], ones, tuple(labels[defined] for labels in groups))
    nothing = GroupedLosses(np.zeros((1, 1)), np.ones(1, np.int64), (np.zeros(1, np.int64),))
    found = estimate_gap(images, nothing, 0, num_train_images=1, num_resamples=num_resamples)
    if found.low is None or found.high is None:
        return None
    return float(np.clip(found.low, *limits)), float(np.clip(found.high, *limits))
