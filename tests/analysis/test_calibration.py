"""The reliability of a set: laws of the expected calibration error, and a case by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.analysis.calibration import BINS, ReliabilityBins


def reliability(confidences: np.ndarray, right: np.ndarray) -> ReliabilityBins:
    bins = np.minimum((confidences * BINS).astype(int), BINS - 1)
    columns = (np.ones_like(confidences), right.astype(float), confidences)
    return ReliabilityBins(*(np.bincount(bins, weights=column, minlength=BINS) for column in columns))


def test_by_hand() -> None:
    """Ten pixels at 0.9, of which eight are right; ten at 0.5, of which six are."""
    found = reliability(np.repeat([0.9, 0.5], 10), np.array([1] * 8 + [0] * 2 + [1] * 6 + [0] * 4))
    assert found.error == pytest.approx((0.1 + 0.1) / 2)
    assert found.mean_confidence == pytest.approx(0.7)
    assert found.accuracy[13] == pytest.approx(0.8)
    assert found.confidence[7] == pytest.approx(0.5)
    assert np.isnan(found.accuracy[0])


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=50))
def test_the_error_is_at_least_what_the_means_are_apart(pixels: list[tuple[float, bool]]) -> None:
    confidences, right = (np.array(column) for column in zip(*pixels, strict=True))
    found = reliability(confidences, right)
    assert abs(found.mean_confidence - right.mean()) - 1e-9 <= found.error <= 1


def test_drawn_as_sure_as_right_has_hardly_an_error() -> None:
    generator = np.random.default_rng(0)
    confidences = generator.uniform(0.3, 1, 100_000)
    honest = generator.random(len(confidences)) < confidences
    assert reliability(confidences, honest).error < 0.01
    assert reliability(confidences, generator.random(len(confidences)) < confidences**2).error > 0.1
