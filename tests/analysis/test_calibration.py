"""Reliability bins: properties of the expected calibration error, and a case by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.analysis.calibration import NUM_BINS, ReliabilityBins


def make_bins(confidences: np.ndarray, correct: np.ndarray) -> ReliabilityBins:
    index = np.minimum((confidences * NUM_BINS).astype(int), NUM_BINS - 1)
    columns = (np.ones_like(confidences), correct.astype(float), confidences)
    return ReliabilityBins(*(np.bincount(index, weights=column, minlength=NUM_BINS) for column in columns))


def test_reliability_bins_by_hand() -> None:
    """Ten pixels at 0.9, eight of them correct; ten at 0.5, six of them correct."""
    bins = make_bins(np.repeat([0.9, 0.5], 10), np.array([1] * 8 + [0] * 2 + [1] * 6 + [0] * 4))
    assert bins.expected_calibration_error == pytest.approx((0.1 + 0.1) / 2)
    assert bins.mean_confidence == pytest.approx(0.7)
    assert bins.accuracy[13] == pytest.approx(0.8)
    assert bins.confidence[7] == pytest.approx(0.5)
    assert np.isnan(bins.accuracy[0])


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=50))
def test_expected_calibration_error_is_at_least_the_difference_of_the_means(pixels: list[tuple[float, bool]]) -> None:
    confidences, correct = (np.array(column) for column in zip(*pixels, strict=True))
    bins = make_bins(confidences, correct)
    assert abs(bins.mean_confidence - correct.mean()) - 1e-9 <= bins.expected_calibration_error <= 1


def test_expected_calibration_error_of_calibrated_predictions_is_small() -> None:
    generator = np.random.default_rng(0)
    confidences = generator.uniform(0.3, 1, 100_000)
    calibrated = generator.random(len(confidences)) < confidences
    assert make_bins(confidences, calibrated).expected_calibration_error < 0.01
    overconfident = generator.random(len(confidences)) < confidences**2
    assert make_bins(confidences, overconfident).expected_calibration_error > 0.1
