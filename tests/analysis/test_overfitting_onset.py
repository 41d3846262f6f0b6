"""Onsets of curves with a known onset, and properties. `benchmarks/onsets.py` measures how often they are right."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.early_stopping import compute_generalization_loss, compute_progress_quotient, count_successive_rises
from pipeline.analysis.overfitting_onset import Onset, find_onset

EPOCHS = np.arange(40.0)
DECAY = 0.5 + 0.6 * np.exp(-EPOCHS / 4)


def draw_noise(seed: int, size: int = 40) -> np.ndarray:
    return 0.01 * np.random.default_rng(seed).normal(size=size)


def require_onset(curve: np.ndarray) -> Onset:
    onset = find_onset(curve).onset
    assert onset is not None
    return onset


@pytest.mark.parametrize("seed", range(5))
def test_find_onset_of_a_knee_is_within_two_epochs(seed: int) -> None:
    onset = require_onset(DECAY + 0.02 * np.maximum(0, EPOCHS - 20) + draw_noise(seed))
    assert abs(onset.index - 20) <= 2
    assert onset.low <= onset.index <= onset.high
    assert onset.rise == pytest.approx(0.38, abs=0.03)


@pytest.mark.parametrize("seed", range(5))
def test_find_onset_of_a_gentle_rise_includes_its_lowest_point(seed: int) -> None:
    curve = DECAY + 0.004 * EPOCHS
    onset = require_onset(curve + draw_noise(seed))
    assert onset.low - 2 <= curve.argmin() <= onset.high + 2
    assert onset.low < onset.high


@pytest.mark.parametrize("seed", range(5))
def test_find_onset_without_a_rise_is_none(seed: int) -> None:
    for curve in (DECAY, np.full(40, 0.5), 1 / (1 + EPOCHS)):
        assert find_onset(curve + draw_noise(seed)).onset is None


def test_find_onset_of_one_bad_epoch_is_none() -> None:
    curve = DECAY + draw_noise(0)
    curve[30] += 0.1
    assert find_onset(curve).onset is None
    assert compute_generalization_loss(curve).max() > 15  # early stopping by GL would have stopped


def test_find_onset_works_without_noise() -> None:
    onset = require_onset(DECAY + 0.01 * np.maximum(0, EPOCHS - 20))
    assert abs(onset.index - 20) <= 1
    assert find_onset(DECAY).onset is None


def test_find_onset_works_on_a_long_curve() -> None:
    epochs = np.arange(1003.0)
    curve = 0.5 + 0.6 * np.exp(-epochs / 100) + 0.0005 * np.maximum(0, epochs - 500) + draw_noise(0, 1003)
    onset = require_onset(curve)
    assert abs(onset.index - 500) <= 20
    assert onset.low <= onset.index <= onset.high


def test_find_onset_of_too_few_epochs_has_no_evidence() -> None:
    assert find_onset(np.array([3.0, 2.0, 1.0, 2.0, 3.0, 4.0, 5.0])).evidence is None


@settings(deadline=None)
@given(st.floats(0, 100), st.integers(1, 60))
def test_find_onset_of_a_constant_is_none(level: float, epochs: int) -> None:
    assert find_onset(np.full(epochs, level)).onset is None


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(0.1, 5), min_size=8, max_size=20), st.sampled_from([0.25, 8.0, 1024.0]))
def test_find_onset_is_invariant_to_the_unit_of_the_loss(losses: list[float], factor: float) -> None:
    first, second = find_onset(np.array(losses)), find_onset(np.array(losses) * factor)
    assert (first.onset is None) == (second.onset is None)
    if first.onset and second.onset:
        assert abs(first.onset.index - second.onset.index) <= 1


@settings(deadline=None, max_examples=60)
@given(st.lists(st.floats(1e-5, 0.2), min_size=12, max_size=60), st.floats(0.1, 1.0))
def test_find_onset_of_a_strictly_falling_curve_is_none(falls: list[float], start: float) -> None:
    search = find_onset(start + np.cumsum(np.array(falls)[::-1])[::-1])
    assert search.onset is None
    assert not search.is_doubtful


def test_criteria_of_early_stopping_by_hand() -> None:
    val = np.array([2.0, 1.0, 1.5, 1.2, 1.1, 1.3])
    assert compute_generalization_loss(val) == pytest.approx([0, 0, 50, 20, 10, 30])
    train = np.array([2.0, 1.5, 1.2, 1.0, 1.0, 1.0])
    # Epoch 5: 1000 * (6.7 / (5 * 1.0) - 1) = 340 per mille of progress, and a GL of 10.
    assert compute_progress_quotient(train, val)[4] == pytest.approx(10 / 340)
    assert np.isnan(compute_progress_quotient(train, val)[:4]).all()
    assert count_successive_rises(np.array([5, 4, 3, 4, 5, 6.0]), strip=2).tolist() == [0, 0, 0, 0, 1, 1]
