"""The Mann-Kendall test equals scipy's, and is valid for noise."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from pipeline.analysis.rank_trend import MAX_EXACT, compute_rise_p_value


@given(st.permutations(range(12)))
def test_p_value_equals_that_of_scipy(values: list[int]) -> None:
    expected = stats.kendalltau(range(len(values)), values, alternative="greater", method="exact").pvalue
    assert compute_rise_p_value(np.array(values, float)) == pytest.approx(expected)


@pytest.mark.parametrize("length", [MAX_EXACT, MAX_EXACT + 1, 200])
def test_p_value_of_long_series_is_close_to_that_of_scipy(length: int) -> None:
    values = np.random.default_rng(length).normal(size=length) + np.linspace(0, 0.7, length)
    expected = stats.kendalltau(range(length), values, alternative="greater", method="asymptotic").pvalue
    assert compute_rise_p_value(values) == pytest.approx(expected, rel=0.1)


@given(st.lists(st.integers(-1000, 1000), max_size=60))
def test_p_value_depends_on_order_alone(values: list[int]) -> None:
    series = np.array(values, float)
    p = compute_rise_p_value(series)
    assert 0 < p <= 1
    assert compute_rise_p_value(series**3 / 7 + 3) == pytest.approx(p)  # monotone, so the order is the same


def test_noise_is_rarely_found_to_rise() -> None:
    random = np.random.default_rng(0)
    found = 0
    for _ in range(4000):
        values = random.normal(size=random.integers(5, 40))
        found += compute_rise_p_value(values[int(values.argmin()) + 1 :]) < 0.01
    assert found / 4000 < 0.013  # 0.01 and two standard errors


def test_short_or_constant_series_do_not_rise() -> None:
    assert [compute_rise_p_value(np.array(values, float)) for values in ([], [1], [1, 1, 1, 1])] == [1.0, 1.0, 1.0]
