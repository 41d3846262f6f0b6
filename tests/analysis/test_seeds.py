"""Comparisons over seeds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.analysis.seeds import holm, median_place, paired_difference, spread

losses = st.lists(st.floats(0, 10), min_size=1, max_size=9)


@given(losses)
def test_the_median_is_one_of_the_values_and_half_lie_on_each_side(values: list[float]) -> None:
    median = values[median_place(values)]
    assert sum(value < median for value in values) <= (len(values) - 1) / 2
    assert sum(value > median for value in values) <= len(values) / 2


def test_spread() -> None:
    assert spread([]) == (None, None)
    assert spread([2.0]) == (2.0, None)
    assert spread([1.0, 3.0]) == (2.0, pytest.approx(2**0.5))


def test_differences_are_taken_seed_by_seed() -> None:
    difference = paired_difference({0: 0.3, 1: 0.5, 2: 0.4}, {0: 0.4, 1: 0.6, 3: 9.0})
    assert difference is not None
    assert (difference.mean, difference.lower, difference.seeds) == (pytest.approx(-0.1), 2, 2)
    assert difference.interval == pytest.approx((-0.1, -0.1))
    assert difference.p is not None
    assert difference.p < 1e-6  # without spread, beyond doubt
    assert paired_difference({0: 1.0}, {1: 1.0}) is None


@given(st.dictionaries(st.integers(0, 5), st.floats(0, 10), min_size=1), st.floats(-1, 1))
def test_a_constant_added_to_both_sides_leaves_the_difference(values: dict[int, float], shift: float) -> None:
    other = {seed: value + 0.5 for seed, value in values.items()}
    moved = paired_difference(
        {seed: value + shift for seed, value in values.items()}, {seed: value + shift for seed, value in other.items()}
    )
    assert moved is not None
    assert moved.mean == pytest.approx(-0.5)


def test_one_seed_supports_nothing() -> None:
    difference = paired_difference({0: 0.1}, {0: 0.9})
    assert difference is not None
    assert (difference.interval, difference.p) == (None, None)


def test_students_interval_by_hand() -> None:
    # Differences 1, 2, 3: mean 2, sd 1, standard error 1 / sqrt(3); t(0.975; 2) = 4.3027, t = 3.4641.
    found = paired_difference({0: 1.0, 1: 2.0, 2: 3.0}, {0: 0.0, 1: 0.0, 2: 0.0})
    assert found is not None
    assert found.interval == pytest.approx((2 - 4.3027 / 3**0.5, 2 + 4.3027 / 3**0.5), abs=1e-4)
    assert found.p == pytest.approx(0.0742, abs=1e-4)


def test_equal_values_differ_in_nothing() -> None:
    found = paired_difference({0: 0.5, 1: 0.4}, {0: 0.5, 1: 0.4})
    assert found is not None
    assert found.p == 1


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.9, 0.8]) == [1, 1]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), max_size=8), st.randoms())
def test_holm_keeps_the_order_and_never_lowers(values: list[float], random: object) -> None:
    corrected = holm(values)
    assert all(after >= before for before, after in zip(values, corrected, strict=True))
    pairs = sorted(zip(values, corrected, strict=True))
    assert [after for _, after in pairs] == sorted(corrected)
    shuffled = list(values)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert sorted(holm(shuffled)) == sorted(corrected)
