"""Confidence intervals of scores, from the cluster bootstrap that the gap's interval uses.

A score of a set of images, such as the IoU over all pixels of a class, is not a mean over images. Its jackknife
pseudo-values are numbers, one per image, whose mean is nearly the score (Tukey, Bias and confidence in not quite large
samples, Annals of Mathematical Statistics 29, 1958). The interval of their mean is the interval of the score.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pipeline.analysis.clustered_mean import (
    INFINITE,
    MIN_GROUPS,
    ClusteredMean,
    Floats,
    GroupedLosses,
    Integers,
    split_resamples,
)
from pipeline.analysis.gap_interval import CONFIDENCE_LEVEL

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


def estimate_mean_intervals(
    values: Floats, groups: tuple[Integers, ...], limits: Floats, num_resamples: int = 2_000
) -> list[Interval | None]:
    """Estimate the intervals of means over images at a confidence level of 95%, as `estimate_gap` does for one mean.

    Means over the same images share their resamples.

    Args:
        values: N x M, one value per image and mean; images with NaN are left out of a mean.
        groups: one or two arrays of N labels, as in `GroupedLosses`; empty for no intervals.
        limits: M x 2, lowest and highest possible value of each mean.
        num_resamples: number of bootstrap resamples.

    Returns:
        The ends of each interval; None with fewer than ten groups, if no value is defined, or if nearly all values are
        equal, so that an end without a limit is unknown.
    """
    found: list[Interval | None] = [None] * values.shape[1]
    if not groups:
        return found
    defined = np.isfinite(values)
    patterns, members = np.unique(defined, axis=1, return_inverse=True)
    for number, images in enumerate(patterns.T):
        columns = np.flatnonzero(members.ravel() == number)
        if not images.any():
            continue
        ones = np.ones(int(images.sum()), np.int64)
        grouped = GroupedLosses(values[np.ix_(images, columns)].T, ones, tuple(labels[images] for labels in groups))
        if grouped.num_groups >= MIN_GROUPS:
            low, high = _estimate(grouped, num_resamples)
            for place, column in enumerate(columns):
                ends = np.clip((low[place], high[place]), *limits[column])
                found[column] = (float(ends[0]), float(ends[1])) if np.isfinite(ends).all() else None
    return found


def _estimate(images: GroupedLosses, num_resamples: int) -> tuple[Floats, Floats]:
    """Estimate the ends of the intervals of E means over the same images."""
    side, generator = ClusteredMean(images, 1.0), np.random.default_rng(0)
    means, variances = side.measure_all()
    size = max(side.size, len(means))
    batches = [
        side.compute_all_deviations(side.resample(count, generator)) for count in split_resamples(num_resamples, size)
    ]
    deviations, drawn = (np.concatenate(parts) for parts in zip(*batches, strict=True))
    with np.errstate(divide="ignore", invalid="ignore"):
        pivots = np.nan_to_num((deviations - deviations.mean(axis=0)) / np.sqrt(drawn))  # 0 / 0 means no deviation
        quantiles = np.quantile(np.abs(pivots), CONFIDENCE_LEVEL, axis=0)
        margins = np.where(quantiles < INFINITE, quantiles * np.sqrt(variances), np.inf)
    margins[variances == 0] = 0
    return means - margins, means + margins
