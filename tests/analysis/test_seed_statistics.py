"""Statistics over seeds: cases by hand, and properties."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.analysis.seed_statistics import (
    adjust_p_values,
    compute_mean_and_sd,
    compute_paired_difference,
    find_median_index,
)

LOSSES = st.lists(st.floats(0, 10), min_size=1, max_size=9)


@given(LOSSES)
def test_find_median_index_has_half_of_the_values_on_each_side(values: list[float]) -> None:
    median = values[find_median_index(values)]
    assert sum(value < median for value in values) <= (len(values) - 1) / 2
    assert sum(value > median for value in values) <= len(values) / 2


def test_compute_mean_and_sd_by_hand() -> None:
    assert compute_mean_and_sd([]) == (None, None)
    assert compute_mean_and_sd([2.0]) == (2.0, None)
    assert compute_mean_and_sd([1.0, 3.0]) == (2.0, pytest.approx(2**0.5))
    assert compute_mean_and_sd([None, 1.0, None, 3.0]) == (2.0, pytest.approx(2**0.5))


def test_compute_paired_difference_uses_common_seeds_only() -> None:
    difference = compute_paired_difference({0: 0.3, 1: 0.5, 2: 0.4}, {0: 0.4, 1: 0.6, 3: 9.0})
    assert difference is not None
    assert (difference.mean, difference.num_lower, difference.num_seeds) == (pytest.approx(-0.1), 2, 2)
    assert difference.interval == pytest.approx((-0.1, -0.1))
    assert difference.p_value is not None
    assert difference.p_value < 1e-6  # no variation between the differences
    assert compute_paired_difference({0: 1.0}, {1: 1.0}) is None


@given(st.dictionaries(st.integers(0, 5), st.floats(0, 10), min_size=1), st.floats(-1, 1))
def test_compute_paired_difference_is_invariant_to_a_constant(values: dict[int, float], shift: float) -> None:
    difference = compute_paired_difference(
        {seed: value + shift for seed, value in values.items()},
        {seed: value + 0.5 + shift for seed, value in values.items()},
    )
    assert difference is not None
    assert difference.mean == pytest.approx(-0.5)


def test_compute_paired_difference_of_one_seed_has_no_interval() -> None:
    difference = compute_paired_difference({0: 0.1}, {0: 0.9})
    assert difference is not None
    assert (difference.interval, difference.p_value) == (None, None)


def test_compute_paired_difference_by_hand() -> None:
    # Differences 1, 2, 3: mean 2, sd 1, standard error 1 / sqrt(3); t(0.975; 2) = 4.3027, t = 3.4641.
    difference = compute_paired_difference({0: 1.0, 1: 2.0, 2: 3.0}, {0: 0.0, 1: 0.0, 2: 0.0})
    assert difference is not None
    assert difference.interval == pytest.approx((2 - 4.3027 / 3**0.5, 2 + 4.3027 / 3**0.5), abs=1e-4)
    assert difference.p_value == pytest.approx(0.0742, abs=1e-4)


def test_compute_paired_difference_of_equal_values_has_a_p_value_of_1() -> None:
    difference = compute_paired_difference({0: 0.5, 1: 0.4}, {0: 0.5, 1: 0.4})
    assert difference is not None
    assert difference.p_value == 1


def test_adjust_p_values_by_hand() -> None:
    assert adjust_p_values([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert adjust_p_values([0.9, 0.8]) == [1, 1]
    assert adjust_p_values([]) == []


@given(st.lists(st.floats(0, 1), max_size=8), st.randoms())
def test_adjust_p_values_keeps_the_order_and_never_lowers(values: list[float], random: Random) -> None:
    adjusted = adjust_p_values(values)
    assert all(after >= before for before, after in zip(values, adjusted, strict=True))
    pairs = sorted(zip(values, adjusted, strict=True))
    assert [after for _, after in pairs] == sorted(adjusted)
    shuffled = list(values)
    random.shuffle(shuffled)
    assert sorted(adjust_p_values(shuffled)) == sorted(adjusted)
