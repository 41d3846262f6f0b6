"""The part of a large image that the page shows at full scale."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import PipelineError
from pipeline.imaging import IGNORE
from pipeline.report.figures.crops import CROP, find_crop

SIDES = st.integers(513, 900)


@given(SIDES, st.integers(100, 900), st.integers(0, 10_000))
def test_crop_has_the_only_errors(height: int, width: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    truth = np.zeros((height, width), np.uint8)
    prediction = truth.copy()
    row, column = random.integers(0, height - 8), random.integers(0, width - 8)
    prediction[row : row + 8, column : column + 8] = 1
    window = find_crop(prediction, truth)
    assert window is not None
    assert truth[window].shape == (min(CROP, height), min(CROP, width))
    assert (prediction[window] != truth[window]).sum() == 64


def test_crop_without_errors_has_the_edges_and_ignored_pixels_do_not_count() -> None:
    truth = np.zeros((800, 700), np.uint8)
    truth[600:640, 500:540] = 1
    prediction = truth.copy()
    truth[:100, :100], prediction[:100, :100] = IGNORE, 1
    prediction[truth == IGNORE] = 1
    window = find_crop(prediction, truth)
    assert window is not None
    assert (truth[window] == 1).sum() == 40 * 40


def test_prediction_of_another_shape_is_an_error() -> None:
    with pytest.raises(PipelineError, match="500 × 600 pixels, but its prepared mask has 700 × 600"):
        find_crop(np.zeros((600, 500), np.uint8), np.zeros((600, 700), np.uint8))


@pytest.mark.parametrize("shape", [(512, 512), (20, 512), (1, 1)])
def test_image_that_is_shown_at_full_scale_has_no_crop(shape: tuple[int, int]) -> None:
    mask = np.zeros(shape, np.uint8)
    assert find_crop(mask, mask + 1) is None
