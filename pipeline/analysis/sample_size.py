"""Number of seeds, folds or images that would settle which of two settings is better.

The power of Student's paired t test depends on the standard deviation of the differences, which a few seeds show only
roughly: for three seeds, the 80% confidence interval reaches from 0.7 to 3.1 times the estimate. Therefore, the power
is averaged over the standard deviations that are compatible with the estimate, each weighted by its probability: the
estimated variance times its degrees of freedom, divided by the true variance, has a chi-squared distribution (Julious
and Owen, Sample size calculations for clinical studies allowing for uncertainty about the variance, Pharmaceutical
Statistics 5, 2006). The seeds seen so far are part of the final sample, as in an internal pilot study (Wittes and
Brittain, The role of internal pilot studies in increasing the efficiency of clinical trials, Statistics in Medicine 9,
1990). `benchmarks/sample_size.py` compares this with two alternatives: to use the estimate itself, or its upper
confidence limit (Browne, On the use of a pilot sample for sample size determination, Statistics in Medicine 14, 1995).

Two settings are equal for practical purposes if two one-sided tests reject that they differ by the margin or more
(Schuirmann, A comparison of the two one-sided tests procedure and the power approach for assessing the equivalence of
average bioavailability, Journal of Pharmacokinetics and Biopharmaceutics 15, 1987).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from pipeline.analysis.seed_statistics import SIGNIFICANT, PairedDifference

Floats = npt.NDArray[np.float64]

POWER = 0.8  # the usual convention (Cohen, Statistical Power Analysis for the Behavioral Sciences, 1988)
MAX_SEEDS = 30
MAX_IMAGE_FACTOR = 10.0
CONFIDENCE = 0.8  # of the range of numbers that may be needed
# Midpoints of equally probable intervals, at which distributions are evaluated. Tests compare them with a simulation.
_PROBABILITIES: Floats = (np.arange(100) + 0.5) / 100


@dataclass(frozen=True)
class Pilot:
    """Differences between two settings, seen for a few seeds, or for a few folds of a cross-validation."""

    difference: float  # absolute value of the mean
    sd: float  # sample standard deviation of the differences
    num: int  # number of seeds, or of folds, at least 2
    overlap: float = 0.0  # 1 / (folds - 1) with cross-validation, as in `compute_paired_difference`

    @property
    def degrees(self) -> int:
        """Degrees of freedom of the standard deviation."""
        return self.num - 1

    def compute_error_factor(self, num: int) -> float:
        """Compute the standard error of the mean difference over `num` seeds or folds, in standard deviations."""
        return math.sqrt(1 / num + self.overlap)


@dataclass(frozen=True)
class Goal:
    """Claim that a comparison is to support."""

    margin: float | None = None  # the settings differ by less than this; None: one of them is better
    level: float = SIGNIFICANT  # of the two-sided test of the difference, or of each one-sided test of equivalence


@dataclass(frozen=True)
class SampleSize:
    """A number of seeds or folds that reaches a goal with at least the power `POWER`."""

    num: int  # including those of the pilot
    power: float
    low: int  # ends of the interval of the number that is needed, with the confidence `CONFIDENCE`
    high: int | None  # None if it is above the maximum


def create_pilot(paired: PairedDifference, seeds: set[int], folds: int | None) -> Pilot | None:
    """Describe a paired difference as a pilot; None if there are fewer than two seeds or folds.

    Args:
        paired: Result of `compute_paired_difference`.
        seeds: Seeds that both settings have.
        folds: Number of folds of the cross-validation; None without one.
    """
    if paired.interval is None:
        return None
    num = len(seeds) if folds is None else len({seed % folds for seed in seeds})
    overlap = 0.0 if folds is None else 1 / (folds - 1)
    error = (paired.interval[1] - paired.interval[0]) / 2 / float(stats.t.ppf(0.975, num - 1))
    return Pilot(abs(paired.mean), error / math.sqrt(1 / num + overlap), num, overlap)


def compute_equivalence_p_value(pilot: Pilot, margin: float) -> float:
    """Compute the p-value of the two one-sided tests that the settings differ by the margin or more; 1 for margin 0."""
    error = pilot.sd * pilot.compute_error_factor(pilot.num)
    distance = margin - pilot.difference
    if distance <= 0:
        return 1.0
    return float(stats.t.sf(distance / error, pilot.degrees)) if error > 0 else 0.0


def compute_equivalence_interval(pilot: Pilot) -> tuple[float, float]:
    """Compute the 90% interval of the difference, which is within the margin if the two one-sided tests reject."""
    error = pilot.sd * pilot.compute_error_factor(pilot.num)
    width = float(stats.t.isf(SIGNIFICANT, pilot.degrees)) * error
    return pilot.difference - width, pilot.difference + width


def compute_power(pilot: Pilot, num: int, goal: Goal) -> float:
    """Compute the power of `num` seeds or folds, including those of the pilot, if the difference is that of the pilot.

    Args:
        pilot: The differences seen so far.
        num: Total number, more than the pilot has.
        goal: The claim to support.
    """
    return _average_power(pilot, num, goal, _list_deviations(pilot), pilot.degrees)


def compute_power_with_more_images(pilot: Pilot, num: int, goal: Goal, factor: float) -> float:
    """Compute the power of a new cross-validation of `num` folds with `factor` times as many images.

    The variance between folds is assumed to be inversely proportional to the number of images.
    """
    return _average_power(pilot, num, goal, _list_deviations(pilot) / math.sqrt(factor), 0)


def find_sample_size(pilot: Pilot, goal: Goal, most: int = MAX_SEEDS) -> SampleSize | None:
    """Find the smallest number of seeds or folds, including those of the pilot, that reaches the goal.

    Args:
        pilot: The differences seen so far.
        goal: The claim to support.
        most: Largest number to consider.

    Returns:
        The number; None if none up to `most` has the power `POWER`.
    """
    numbers = range(pilot.num + 1, most + 1)
    powers = ((num, compute_power(pilot, num, goal)) for num in numbers)
    found = next(((num, power) for num, power in powers if power >= POWER), None)
    if found is None:
        return None
    tail = (1 - CONFIDENCE) / 2
    limits = [
        next((num for num in numbers if _average_power(pilot, num, goal, sd, 0) >= POWER), None)
        for sd in _compute_deviations(pilot, np.array([[tail], [1 - tail]]))
    ]
    return SampleSize(*found, low=min(limits[0] or found[0], found[0]), high=limits[1])


def find_image_factor(pilot: Pilot, goal: Goal) -> float | None:
    """Find how many times as many images reach the goal in a new cross-validation of as many folds, to one decimal.

    Returns:
        The factor; None if none up to `MAX_IMAGE_FACTOR` has the power `POWER`.
    """
    factors = [tenths / 10 for tenths in range(11, round(10 * MAX_IMAGE_FACTOR) + 1)]
    return next((one for one in factors if compute_power_with_more_images(pilot, pilot.num, goal, one) >= POWER), None)


def _list_deviations(pilot: Pilot) -> Floats:
    """List equally probable standard deviations."""
    return _compute_deviations(pilot, _PROBABILITIES)


def _compute_deviations(pilot: Pilot, probabilities: Floats) -> Floats:
    """Compute the upper confidence limits of the true standard deviation at given confidences, 0 to 1."""
    return np.asarray(pilot.sd * np.sqrt(pilot.degrees / stats.chi2.isf(probabilities, pilot.degrees)))


def _average_power(pilot: Pilot, num: int, goal: Goal, deviations: Floats, included: int) -> float:
    """Average the power over true standard deviations (N).

    Args:
        pilot: The differences seen so far.
        num: Total number of seeds or folds.
        goal: The claim to support.
        deviations: True standard deviations.
        included: Degrees of freedom of the pilot's standard deviation that are part of the final one; 0 if the pilot
            is not part of the final sample.
    """
    degrees = num - 1
    true = np.maximum(deviations, np.finfo(np.float64).tiny)[:, None]
    chi2 = stats.chi2.ppf(_PROBABILITIES, degrees - included)[None, :]
    final = np.sqrt((included * pilot.sd**2 + true**2 * chi2) / degrees)
    error = pilot.compute_error_factor(num)
    if goal.margin is None:
        threshold = stats.t.isf(goal.level / 2, degrees) * error * final
        return float(stats.norm.sf((threshold - pilot.difference) / (error * true)).mean())
    limit = goal.margin - stats.t.isf(goal.level, degrees) * error * final
    upper, lower = (stats.norm.cdf((end - pilot.difference) / (error * true)) for end in (limit, -limit))
    return float(np.maximum(upper - lower, 0).mean())
