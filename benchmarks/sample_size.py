"""Measure whether the proposed number of seeds has the power that the findings state, by simulation.

    python -m benchmarks.sample_size [--repetitions 20000]

The paired differences between two settings are normal with a standard deviation of 1. A pilot of a few seeds is drawn,
a number is proposed from it, and the remaining seeds are drawn. *Stated*: mean of the power that the proposals
state. *Reached*: share of the proposals after which the test of all seeds is significant and has the right sign.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import stats

from pipeline.analysis.sample_size import (
    MAX_SEEDS,
    POWER,
    SIGNIFICANT,
    Goal,
    Pilot,
    compute_power,
    compute_power_with_more_images,
    find_sample_size,
)

PILOTS = (3, 5, 10)
DIFFERENCES = (0.5, 0.75, 1.0, 1.5, 2.0)
RATIOS = np.geomspace(0.05, 50, 90)  # of a difference or margin to the estimated sd, at which power is tabulated

NUM_RANGES = 300  # proposals whose range is computed
WIDTH = 11  # of a column

PowerFunction = Callable[[float, int, int], float]  # ratio, number of seeds in the pilot, total number of seeds


def average_power(ratio: float, pilot: int, total: int) -> float:
    """Compute the power as the findings do."""
    return compute_power(Pilot(ratio, 1.0, pilot), total, Goal())


def power_of_estimate(ratio: float, _pilot: int, total: int) -> float:
    """Compute the power as if the estimated standard deviation were the true one."""
    return float(stats.nct.sf(stats.t.isf(SIGNIFICANT / 2, total - 1), total - 1, ratio * np.sqrt(total)))


def power_of_upper_limit(ratio: float, pilot: int, total: int) -> float:
    """Compute the power as if the upper 80% confidence limit of the standard deviation were the true one."""
    return power_of_estimate(ratio * np.sqrt(stats.chi2.ppf(0.2, pilot - 1) / (pilot - 1)), pilot, total)


def power_of_equality(ratio: float, pilot: int, total: int) -> float:
    """Compute the power to show equality of equal settings, as the findings do; `ratio` is margin / sd."""
    return compute_power(Pilot(0.0, 1.0, pilot), total, Goal(margin=ratio))


@dataclass(frozen=True)
class Proposals:
    """Proposed numbers of seeds, and their stated power, for R pilots."""

    total: np.ndarray  # R, 0 without a proposal
    power: np.ndarray  # R

    @property
    def are_made(self) -> np.ndarray:
        """Whether each pilot has a proposal."""
        return self.total > 0


def propose(function: PowerFunction, pilot: int, ratios: np.ndarray) -> Proposals:
    """Propose a number of seeds for each ratio, with the power interpolated between tabulated ratios."""
    total, power = np.zeros(len(ratios), int), np.zeros(len(ratios))
    for number in range(MAX_SEEDS, pilot, -1):
        table = [function(ratio, pilot, number) for ratio in RATIOS]
        found = np.interp(np.log(ratios), np.log(RATIOS), table)
        total = np.where(found >= POWER, number, total)
        power = np.where(found >= POWER, found, power)
    return Proposals(total, power)


def summarize_seeds(differences: np.ndarray, total: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean and the standard deviation of the first `total` (R) of the differences (R x N)."""
    rows, total = np.arange(len(differences)), np.maximum(total, 2)
    mean = np.cumsum(differences, 1)[rows, total - 1] / total
    squares = np.cumsum(differences**2, 1)[rows, total - 1]
    return mean, np.sqrt(np.maximum(squares - total * mean**2, 1e-12) / (total - 1))


def test_difference(differences: np.ndarray, total: np.ndarray) -> np.ndarray:
    """Return whether Student's t test of the first `total` differences is significant and the mean is positive."""
    mean, sd = summarize_seeds(differences, total)
    return mean / (sd / np.sqrt(np.maximum(total, 2))) > stats.t.isf(SIGNIFICANT / 2, np.maximum(total, 2) - 1)


def test_equality(differences: np.ndarray, total: np.ndarray, margin: float) -> np.ndarray:
    """Return whether two one-sided tests of the first `total` differences show equality."""
    mean, sd = summarize_seeds(differences, total)
    error = sd / np.sqrt(np.maximum(total, 2))
    return (margin - np.abs(mean)) / error > stats.t.isf(SIGNIFICANT, np.maximum(total, 2) - 1)


def print_heading(title: str, *columns: str) -> None:
    """Print the title and the names of the columns."""
    print(f"\n{title}\n" + "".join(f"{name:>{WIDTH}}" for name in columns))


def print_row(*values: float) -> None:
    """Print numbers as they are, and fractions of type `numpy.float64` as percentages."""
    cells = [f"{value:.1%}" if isinstance(value, np.floating) else f"{value:g}" for value in values]
    print("".join(f"{cell:>{WIDTH}}" for cell in cells), flush=True)


def print_planned(repetitions: int) -> None:
    """Print stated and reached power if the planned difference is the true one."""
    title = (
        "Seeds for a known difference. Needed: with a known standard deviation. In range: how often the range has it"
    )
    names = ("pilot", "difference", "needed", "proposed", "median", "stated", "reached", "in range")
    print_heading(title, *names, "estimate:", "reached", "limit:", "reached")
    for pilot in PILOTS:
        for difference in DIFFERENCES:
            drawn = np.random.default_rng(1).normal(difference, 1, (repetitions, MAX_SEEDS))
            ratios = difference / summarize_seeds(drawn, np.full(repetitions, pilot))[1]
            needed = next(number for number in range(2, 99) if power_of_estimate(difference, 0, number) >= POWER)
            results: list[float] = []
            for method in (average_power, power_of_estimate, power_of_upper_limit):
                found = propose(method, pilot, ratios)
                made = found.are_made
                results += [found.power[made].mean(), test_difference(drawn, found.total)[made].mean()]
                if method is average_power:
                    results = [made.mean(), float(np.median(found.total[made])), *results]
                    results.append(measure_range(pilot, ratios[made][:NUM_RANGES], needed))
            print_row(pilot, difference, needed, *results)


def measure_range(pilot: int, ratios: np.ndarray, needed: int) -> np.floating:
    """Measure how often the stated range includes the number that is needed, or one seed more than the pilot has."""
    sizes = [find_sample_size(Pilot(ratio, 1.0, pilot), Goal()) for ratio in ratios]
    needed = max(needed, pilot + 1)
    return np.mean([one is not None and one.low <= needed <= (one.high or needed) for one in sizes])


def print_seen(repetitions: int) -> None:
    """Print what happens if the findings are followed, which plan for the difference seen."""
    title = (
        "Seeds for the difference of the pilot. Wrong: a significant result that is wrong, in the pilot or at the end"
    )
    print_heading(title, "pilot", "difference", "settled", "proposed", "median", "stated", "reached", "wrong")
    for pilot in PILOTS:
        for difference in (0.0, *DIFFERENCES):
            drawn = np.random.default_rng(1).normal(difference, 1, (repetitions, MAX_SEEDS))
            first = np.full(repetitions, pilot)
            right, wrong = (test_difference(sign * drawn, first) for sign in (1, -1))
            mean, sd = summarize_seeds(drawn, first)
            found = propose(average_power, pilot, np.abs(mean) / sd)
            made = found.are_made & ~right & ~wrong
            right_later, wrong_later = (test_difference(sign * drawn, found.total) & made for sign in (1, -1))
            mistakes = wrong | wrong_later | ((right | right_later) & (difference == 0))
            median = float(np.median(found.total[made])) if made.any() else 0.0
            results = [(right | wrong).mean(), made.mean(), median, found.power[made].mean(), right_later[made].mean()]
            print_row(pilot, difference, *results, mistakes.mean())


def print_equality(repetitions: int) -> None:
    """Print how often settings are called equal, and the power of the seeds that are proposed to show it."""
    title = (
        "Equality by the pilot if the difference is the margin (wrong), or 0 (right), and the power of more seeds for 0"
    )
    print_heading(title, "pilot", "margin", "wrong", "right", "proposed", "stated", "reached")
    for pilot in PILOTS:
        for margin in (0.5, 1.0, 2.0):
            noise = np.random.default_rng(1).normal(size=(repetitions, MAX_SEEDS))
            first = np.full(repetitions, pilot)
            wrong, right = (test_equality(noise + shift, first, margin).mean() for shift in (margin, 0.0))
            found = propose(power_of_equality, pilot, margin / summarize_seeds(noise, first)[1])
            made = found.are_made
            reached = test_equality(noise, found.total, margin)[made].mean()
            print_row(pilot, margin, wrong, right, made.mean(), found.power[made].mean(), reached)


def print_folds(repetitions: int) -> None:
    """Print the power of a cross-validation with more images, for folds that are as correlated as the test assumes."""
    folds, overlap = 5, 1 / 4
    print_heading(
        "Five folds, and a new cross-validation with more images", "difference", "images", "stated", "reached"
    )
    for difference in DIFFERENCES:
        for factor in (2.0, 5.0, 10.0):
            rng = np.random.default_rng(1)
            seen = draw_folds(difference, 1.0, folds, repetitions, rng)
            powers = [
                compute_power_with_more_images(Pilot(ratio, 1.0, folds, overlap), folds, Goal(), factor)
                for ratio in RATIOS
            ]
            stated = np.interp(np.log(difference / seen.std(axis=1, ddof=1)), np.log(RATIOS), powers)
            final = draw_folds(difference, 1 / np.sqrt(factor), folds, repetitions, rng)
            error = final.std(axis=1, ddof=1) * np.sqrt(1 / folds + overlap)
            reached = final.mean(axis=1) / error > stats.t.isf(SIGNIFICANT / 2, folds - 1)
            print_row(difference, factor, stated.mean(), reached.mean())


def draw_folds(difference: float, sd: float, folds: int, repetitions: int, rng: np.random.Generator) -> np.ndarray:
    """Draw differences of folds (R x folds) whose correlation is that of the test of Nadeau and Bengio."""
    common = rng.normal(size=(repetitions, 1)) / np.sqrt(folds - 1)
    return difference + sd * (common + rng.normal(size=(repetitions, folds)))


def main() -> None:
    """Print one table per question."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=20_000)
    repetitions = parser.parse_args().repetitions
    for print_table in (print_planned, print_seen, print_equality, print_folds):
        print_table(repetitions)


if __name__ == "__main__":
    main()
