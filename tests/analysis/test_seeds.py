"""Comparisons over seeds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.analysis.seeds import median_place, paired_difference, spread

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
    assert difference.one_sided
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
    assert not difference.one_sided
