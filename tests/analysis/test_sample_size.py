"""Numbers of seeds, folds and images: cases by hand, a simulation, and laws."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from pipeline.analysis.sample_size import (
    MAX_IMAGE_FACTOR,
    MAX_SEEDS,
    POWER,
    Goal,
    Pilot,
    compute_equivalence_interval,
    compute_equivalence_p_value,
    compute_power,
    compute_power_with_more_images,
    create_pilot,
    find_image_factor,
    find_sample_size,
)
from pipeline.analysis.seed_statistics import compute_paired_difference

PILOTS = st.builds(Pilot, st.floats(0, 5), st.floats(1e-3, 5), st.integers(2, 12), st.sampled_from([0.0, 0.25]))
MARGINS = st.none() | st.floats(1e-3, 5)


def simulate_power(pilot: Pilot, num: int, goal: Goal, repetitions: int = 40_000) -> float:
    """Draw a true standard deviation that is compatible with the pilot, then the final sample, and test it."""
    rng = np.random.default_rng(0)
    true = pilot.sd * np.sqrt(pilot.degrees / rng.chisquare(pilot.degrees, repetitions))
    new = rng.normal(size=(repetitions, num - pilot.num)) * true[:, None]
    mean_of_pilot = rng.normal(size=repetitions) * true / pilot.num**0.5
    mean = (pilot.num * mean_of_pilot + new.sum(1)) / num
    squares = pilot.degrees * pilot.sd**2 + pilot.num * mean_of_pilot**2 + (new**2).sum(1) - num * mean**2
    error = np.sqrt(squares / (num - 1) / num)
    if goal.margin is None:
        significant = (mean + pilot.difference) / error > stats.t.isf(goal.level / 2, num - 1)
    else:
        significant = (goal.margin - abs(mean + pilot.difference)) / error > stats.t.isf(goal.level, num - 1)
    return float(significant.mean())


@pytest.mark.parametrize(
    ("pilot", "num", "goal"),
    [
        (Pilot(1.0, 1.0, 3), 10, Goal()),
        (Pilot(1.0, 1.0, 3), 10, Goal(level=0.01)),
        (Pilot(0.8, 1.0, 5), 12, Goal()),
        (Pilot(2.0, 1.0, 2), 6, Goal()),
        (Pilot(0.1, 0.5, 3), 10, Goal(margin=1.0)),
        (Pilot(0.4, 1.0, 8), 20, Goal(margin=1.2)),
    ],
)
def test_power_agrees_with_a_simulation(pilot: Pilot, num: int, goal: Goal) -> None:
    assert compute_power(pilot, num, goal) == pytest.approx(simulate_power(pilot, num, goal), abs=0.01)


@pytest.mark.parametrize(("num", "difference"), [(4, 2.0), (10, 1.0), (30, 0.5)])
def test_power_with_a_known_deviation_is_that_of_the_noncentral_t_distribution(num: int, difference: float) -> None:
    known = Pilot(difference, 1.0, 100_000)
    expected = stats.nct.sf(stats.t.isf(0.025, num - 1), num - 1, difference * num**0.5)
    assert compute_power_with_more_images(known, num, Goal(), 1.0) == pytest.approx(expected, abs=0.005)


def test_sample_size_with_a_nearly_known_deviation_is_that_of_tables() -> None:
    # A paired t test at 0.05 (two-sided) needs 34 pairs for 0.5 standard deviations with a power of 0.8, and 15 for 0.8
    # (Cohen 1988, table 2.4.1 for paired samples; also R's power.t.test).
    powers = [compute_power_with_more_images(Pilot(0.5, 1.0, 100_000), num, Goal(), 1.0) for num in (33, 34)]
    assert powers[0] < POWER <= powers[1]
    powers = [compute_power_with_more_images(Pilot(0.8, 1.0, 100_000), num, Goal(), 1.0) for num in (14, 15)]
    assert powers[0] < POWER <= powers[1]


@given(PILOTS, MARGINS, st.integers(1, 20))
@settings(max_examples=50)
def test_more_seeds_have_no_less_power_to_show_a_difference(pilot: Pilot, margin: float | None, more: int) -> None:
    num = pilot.num + more
    goal = Goal(margin)
    assert 0 <= compute_power(pilot, num, goal) <= compute_power(pilot, num + 1, goal) + 0.01


@given(PILOTS, st.floats(0, 5))
@settings(max_examples=50)
def test_larger_difference_needs_no_more_seeds(pilot: Pilot, larger: float) -> None:
    bigger = Pilot(pilot.difference + larger, pilot.sd, pilot.num, pilot.overlap)
    size, smaller_size = (find_sample_size(one, Goal()) for one in (bigger, pilot))
    if smaller_size is not None:
        assert size is not None
        assert size.num <= smaller_size.num


@given(PILOTS, MARGINS, st.floats(0.01, 100))
@settings(max_examples=50)
def test_unit_of_the_loss_does_not_matter(pilot: Pilot, margin: float | None, unit: float) -> None:
    other = Pilot(unit * pilot.difference, unit * pilot.sd, pilot.num, pilot.overlap)
    goals = Goal(margin), Goal(None if margin is None else unit * margin)
    powers = [compute_power(one, pilot.num + 3, goal) for one, goal in zip((pilot, other), goals, strict=True)]
    assert powers[0] == pytest.approx(powers[1], abs=1e-6)


@given(PILOTS, MARGINS)
@settings(max_examples=50)
def test_proposed_number_is_the_smallest_with_enough_power(pilot: Pilot, margin: float | None) -> None:
    goal = Goal(margin)
    powers = {num: compute_power(pilot, num, goal) for num in range(pilot.num + 1, MAX_SEEDS + 1)}
    enough = [num for num, power in powers.items() if power >= POWER]
    size = find_sample_size(pilot, goal)
    if size is None:
        assert not enough
    else:
        assert (size.num, size.power) == (enough[0], powers[enough[0]])
        assert pilot.num < size.low <= size.num
        assert size.high is None or size.low <= size.high <= MAX_SEEDS


def test_range_of_three_seeds_is_wider_than_that_of_ten() -> None:
    few, many = (find_sample_size(Pilot(0.9, 1.0, num), Goal()) for num in (3, 10))
    assert few is not None
    assert many is not None
    assert few.high is None
    assert many.high is not None


@given(st.integers(2, 20), st.floats(0, 5), st.floats(0.01, 5))
def test_no_setting_is_equal_without_a_margin(num: int, difference: float, sd: float) -> None:
    assert compute_equivalence_p_value(Pilot(difference, sd, num), 0.0) == 1
    assert compute_equivalence_p_value(Pilot(0.0, 0.0, num), 0.0) == 1


@given(PILOTS, st.floats(0, 5))
def test_equality_is_shown_exactly_if_the_interval_is_within_the_margin(pilot: Pilot, margin: float) -> None:
    low, high = compute_equivalence_interval(pilot)
    is_within = -margin < low and high < margin
    p_value = compute_equivalence_p_value(pilot, margin)
    assert (p_value < 0.05) == is_within or p_value == pytest.approx(0.05)


def test_equivalence_by_hand() -> None:
    # Mean 0.2, sd 0.3, 9 seeds: standard error 0.1; distance to the margin 0.5 - 0.2 = 3 standard errors.
    assert compute_equivalence_p_value(Pilot(0.2, 0.3, 9), 0.5) == pytest.approx(stats.t.sf(3, 8))
    assert compute_equivalence_p_value(Pilot(0.6, 0.3, 9), 0.5) == 1
    assert compute_equivalence_p_value(Pilot(0.2, 0.0, 9), 0.5) == 0


def make_pilot(first: dict[int, float], second: dict[int, float], folds: int | None = None) -> Pilot | None:
    paired = compute_paired_difference(first, second, folds=folds)
    assert paired is not None
    return create_pilot(paired, {*first} & {*second}, folds)


def test_pilot_has_the_mean_and_deviation_of_the_differences() -> None:
    pilot = make_pilot({0: 1.0, 1: 2.0, 2: 3.0}, {0: 0.0, 1: 0.0, 2: 0.0, 7: 0.0})
    assert pilot is not None
    assert (pilot.num, pilot.overlap) == (3, 0)
    assert (pilot.difference, pilot.sd) == pytest.approx((2, 1))
    assert make_pilot({0: 1.0}, {0: 2.0}) is None


def test_pilot_of_a_cross_validation_counts_folds() -> None:
    first = {seed: float(seed % 3) for seed in range(6)}
    pilot = make_pilot(first, dict.fromkeys(range(6), 0.0), folds=3)
    assert pilot is not None
    assert pilot.num == 3
    assert pilot.overlap == pytest.approx(1 / 2)
    assert (pilot.difference, pilot.sd) == pytest.approx((1, 1))


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=2, max_size=8), st.none() | st.integers(2, 5))
def test_exchanging_the_settings_changes_nothing(losses: list[tuple[float, float]], folds: int | None) -> None:
    first, second = (dict(enumerate(side)) for side in zip(*losses, strict=True))
    assert make_pilot(first, second, folds) == make_pilot(second, first, folds)


def test_more_folds_cannot_remove_the_correlation_of_folds() -> None:
    assert find_sample_size(Pilot(0.9, 1.0, 5), Goal()) is not None
    correlated = Pilot(0.9, 1.0, 5, 1 / 4)
    assert find_sample_size(correlated, Goal()) is None
    assert compute_power(correlated, 1000, Goal()) < POWER


@given(PILOTS, MARGINS)
@settings(max_examples=30)
def test_image_factor_is_the_smallest_with_enough_power(pilot: Pilot, margin: float | None) -> None:
    goal = Goal(margin)
    factor = find_image_factor(pilot, goal)
    if factor is None:
        assert compute_power_with_more_images(pilot, pilot.num, goal, MAX_IMAGE_FACTOR) < POWER
    else:
        assert compute_power_with_more_images(pilot, pilot.num, goal, factor) >= POWER
        assert (
            factor == pytest.approx(1.1) or compute_power_with_more_images(pilot, pilot.num, goal, factor - 0.1) < POWER
        )
