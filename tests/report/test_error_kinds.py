"""Kinds of prediction errors and their legend."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pipeline.artifacts.prepared_data import SegmentationClass
from pipeline.errors import PipelineError
from pipeline.imaging import IGNORE
from pipeline.report.figures.error_kinds import PredictionErrors

PET = (
    SegmentationClass("pet", "#d98c21", True),
    SegmentationClass("background", "#2e5a6b", False),
    SegmentationClass("border", "#e9dfc7", False),
)
STREET = (
    SegmentationClass("sky", "#d98c21", True),
    SegmentationClass("void", "#2e5a6b", False),
    SegmentationClass("car", "#e9dfc7", True),
)
TRIMAP = (*PET[:2], SegmentationClass("border", "#e9dfc7", False, is_boundary=True))
NUCLEI = PET[:2]
ALL_FOREGROUND = (STREET[0], STREET[2])

masks = arrays(np.uint8, (4, 5), elements=st.sampled_from([0, 1, 2, IGNORE]))
predictions = arrays(np.uint8, (4, 5), elements=st.sampled_from([0, 1, 2]))


def find_errors(
    prediction: list[int], ground_truth: list[int], classes: tuple[SegmentationClass, ...]
) -> dict[str, list[int]]:
    errors = PredictionErrors.between(np.array([prediction], np.uint8), np.array([ground_truth], np.uint8), classes)
    return {kind.text: np.flatnonzero(kind.pixels).tolist() for kind in (errors.found, *errors.wrong, errors.ignored)}


def test_one_foreground_class_has_three_kinds_of_error() -> None:
    assert find_errors([0, 2, 0, 1, 1, 0], [0, 0, 1, 1, 2, IGNORE], PET) == {
        "foreground found": [0],
        "foreground missed": [1],
        "false alarm": [2],
        "wrong class outside the foreground": [4],
        "ignored pixels": [5],
    }


def test_foreground_predicted_as_boundary_is_confused() -> None:
    assert find_errors([2, 0, 1, 0, 2], [0, 2, 0, 1, 1], TRIMAP) == {
        "foreground found": [],
        "foreground missed": [2],
        "false alarm": [3],
        "foreground and border confused": [0, 1],
        "wrong class outside the foreground": [4],
        "ignored pixels": [],
    }


def test_foreground_predicted_as_another_foreground_class_is_wrong() -> None:
    assert find_errors([0, 2, 0, 1, 0], [0, 0, 2, 0, 1], STREET) == {
        "foreground in the right class": [0],
        "foreground missed": [3],
        "false alarm": [4],
        "wrong foreground class": [1, 2],
        "ignored pixels": [],
    }


@pytest.mark.parametrize(
    ("classes", "texts"),
    [
        (NUCLEI, ["foreground found", "foreground missed", "false alarm"]),
        (ALL_FOREGROUND, ["foreground in the right class", "wrong foreground class"]),
    ],
)
def test_legend_has_only_possible_errors(classes: tuple[SegmentationClass, ...], texts: list[str]) -> None:
    mask = np.zeros((2, 2), np.uint8)
    assert [key.text for key in PredictionErrors.between(mask, mask, classes).keys] == texts


def test_legend_has_ignored_pixels_only_if_there_are_any() -> None:
    mask = np.array([[0, IGNORE]], np.uint8)
    errors = PredictionErrors.between(np.zeros((1, 2), np.uint8), mask, NUCLEI)
    assert errors.keys[-1].text == "ignored pixels"
    assert errors.describe() == "0.0% foreground missed, 0.0% false alarm"
    assert not PredictionErrors.between(mask, np.full((1, 2), IGNORE, np.uint8), NUCLEI).is_scored


@given(predictions, masks, st.sampled_from([PET, STREET, TRIMAP]))
def test_every_evaluated_pixel_is_correct_or_of_one_kind(
    prediction: np.ndarray, ground_truth: np.ndarray, classes: tuple[SegmentationClass, ...]
) -> None:
    errors = PredictionErrors.between(prediction, ground_truth, classes)
    wrong = sum(kind.pixels.astype(int) for kind in errors.wrong)
    assert (wrong == ((prediction != ground_truth) & (ground_truth != IGNORE))).all()
    assert not (errors.found.pixels & (wrong > 0)).any()
    assert len({key.color for key in errors.keys}) == len(errors.keys)


def test_prediction_of_another_size_is_refused() -> None:
    with pytest.raises(PipelineError, match="2 × 2 pixels, but its prepared mask has 3 × 3"):
        PredictionErrors.between(np.zeros((2, 2), np.uint8), np.zeros((3, 3), np.uint8), PET)
