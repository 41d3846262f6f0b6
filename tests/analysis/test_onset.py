"""Onsets of curves whose onset is known, and their laws. How often they are right: benchmarks/onsets.py."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.analysis.onset import find_onset, generalisation_loss, progress_quotient, rises_in_a_row

EPOCHS = np.arange(40.0)
FALL = 0.5 + 0.6 * np.exp(-EPOCHS / 4)


def noise(seed: int, size: int = 40) -> np.ndarray:
    return 0.01 * np.random.default_rng(seed).normal(size=size)


@pytest.mark.parametrize("seed", range(5))
def test_a_knee_is_found_within_two_epochs(seed: int) -> None:
    found = find_onset(FALL + 0.02 * np.maximum(0, EPOCHS - 20) + noise(seed)).onset
    assert found is not None
    assert abs(found.place - 20) <= 2
    assert found.low <= found.place <= found.high
    assert found.rise == pytest.approx(0.38, abs=0.03)


@pytest.mark.parametrize("seed", range(5))
def test_a_gentle_rise_is_found_around_its_lowest_point(seed: int) -> None:
    curve = FALL + 0.004 * EPOCHS
    found = find_onset(curve + noise(seed)).onset
    assert found is not None
    assert found.low - 2 <= curve.argmin() <= found.high + 2
    assert found.low < found.high


@pytest.mark.parametrize("seed", range(5))
def test_no_onset_where_nothing_rises(seed: int) -> None:
    for curve in (FALL, np.full(40, 0.5), 1 / (1 + EPOCHS)):
        assert find_onset(curve + noise(seed)).onset is None


def test_one_bad_epoch_is_no_onset() -> None:
    curve = FALL + noise(0)
    curve[30] += 0.1
    assert find_onset(curve).onset is None
    assert generalisation_loss(curve).max() > 15  # while early stopping by GL would have stopped


def test_curves_without_noise() -> None:
    found = find_onset(FALL + 0.01 * np.maximum(0, EPOCHS - 20)).onset
    assert found is not None
    assert abs(found.place - 20) <= 1
    assert find_onset(FALL).onset is None


def test_a_long_curve_is_no_harder() -> None:
    place = np.arange(1003.0)
    curve = 0.5 + 0.6 * np.exp(-place / 100) + 0.0005 * np.maximum(0, place - 500) + noise(0, 1003)
    found = find_onset(curve).onset
    assert found is not None
    assert abs(found.place - 500) <= 20
    assert found.low <= found.place <= found.high


def test_too_few_epochs_are_said() -> None:
    assert find_onset(np.array([3.0, 2.0, 1.0, 2.0, 3.0, 4.0, 5.0])).evidence is None


@settings(deadline=None)
@given(st.floats(0, 100), st.integers(1, 60))
def test_a_constant_curve_has_no_onset(level: float, epochs: int) -> None:
    assert find_onset(np.full(epochs, level)).onset is None


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(0.1, 5), min_size=8, max_size=20), st.sampled_from([0.25, 8.0, 1024.0]))
def test_the_unit_of_the_loss_changes_nothing(losses: list[float], factor: float) -> None:
    first, second = find_onset(np.array(losses)), find_onset(np.array(losses) * factor)
    assert (first.onset is None) == (second.onset is None)
    if first.onset and second.onset:
        assert abs(first.onset.place - second.onset.place) <= 1


def test_prechelts_criteria_by_hand() -> None:
    val = np.array([2.0, 1.0, 1.5, 1.2, 1.1, 1.3])
    assert generalisation_loss(val) == pytest.approx([0, 0, 50, 20, 10, 30])
    train = np.array([2.0, 1.5, 1.2, 1.0, 1.0, 1.0])
    # Epoch 5: 1000 * (6.7 / (5 * 1.0) - 1) = 340 per mille of progress, and a GL of 10.
    assert progress_quotient(train, val)[4] == pytest.approx(10 / 340)
    assert np.isnan(progress_quotient(train, val)[:4]).all()
    assert rises_in_a_row(np.array([5, 4, 3, 4, 5, 6.0]), strip=2).tolist() == [0, 0, 0, 0, 1, 1]


@settings(deadline=None, max_examples=60)
@given(st.lists(st.floats(1e-5, 0.2), min_size=12, max_size=60), st.floats(0.1, 1.0))
def test_a_curve_that_never_rises_has_no_onset(falls: list[float], start: float) -> None:
    curve = start + np.cumsum(np.array(falls)[::-1])[::-1]  # strictly falling
    found = find_onset(curve)
    assert found.onset is None
    assert not found.doubtful
