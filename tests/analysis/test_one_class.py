"""The one-class baseline: what beats it and what does not, by hand and as laws."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pipeline.analysis.one_class import LABEL, MIN_IOU_GAIN, OneClassBaseline, check_one_class
from pipeline.analysis.scores import score
from pipeline.runs import SegmentationClass

ANIMAL = SegmentationClass("animal", "#e69f00", foreground=True)
BACKGROUND = SegmentationClass("background", "#0072b2", foreground=False)
BORDER = SegmentationClass("border", "#f0e442", foreground=False)
CLASSES = (ANIMAL, BACKGROUND, BORDER)

counts = st.one_of(st.just(0), st.integers(1, 1000))
tables = arrays(np.int64, (3, 3), elements=counts).filter(lambda table: table.sum() > 0)


def baseline(confusion: np.ndarray, train: np.ndarray | None = None) -> OneClassBaseline:
    """Compute the baseline on the images of a confusion table; training has the same class shares if none are given."""
    shares = confusion.sum(axis=1) / confusion.sum()
    return OneClassBaseline.of(shares if train is None else train, shares, CLASSES)


def is_beaten(confusion: np.ndarray, train: np.ndarray | None = None) -> bool | None:
    return baseline(confusion, train).is_beaten_by(score(0.1, confusion, CLASSES))


@given(tables)
def test_predicting_the_most_frequent_class_never_beats_the_baseline(confusion: np.ndarray) -> None:
    constant = np.zeros_like(confusion)
    constant[:, confusion.sum(axis=1).argmax()] = confusion.sum(axis=1)
    several = (confusion.sum(axis=1) > 0).sum() > 1
    assert is_beaten(constant) is (False if several else None)


@given(tables)
def test_a_perfect_prediction_beats_the_baseline_where_there_are_two_classes(confusion: np.ndarray) -> None:
    pixels = confusion.sum(axis=1)
    assert is_beaten(np.diag(pixels)) is (True if (pixels > 0).sum() > 1 else None)


@given(tables)
def test_no_foreground_found_never_beats_a_background_baseline(confusion: np.ndarray) -> None:
    confusion[0, 0] = 0
    pixels = confusion.sum(axis=1)
    assume(pixels[0] > 0)
    assume(pixels.argmax() != 0)
    assert is_beaten(confusion) is False


def test_a_foreground_majority_is_checked_by_mean_iou_alone() -> None:
    confusion = np.array([[80, 5, 0], [5, 10, 0], [0, 0, 0]])
    assert baseline(confusion).predicted == ANIMAL
    assert is_beaten(confusion) is True


def test_a_set_without_foreground_is_checked_by_mean_iou_alone() -> None:
    confusion = np.array([[0, 0, 0], [0, 80, 2], [0, 3, 15]])
    assert is_beaten(confusion, train=np.array([0.1, 0.7, 0.2])) is True


@pytest.mark.parametrize(("gain", "expected"), [(MIN_IOU_GAIN / 2, False), (2 * MIN_IOU_GAIN, True)])
def test_a_gain_below_the_margin_counts_as_none(gain: float, expected: bool) -> None:
    total = 1_000_000
    truth = np.array([total // 10, 9 * total // 10])
    hits = int(2.2 * gain * truth[0])  # of the foreground: its IoU is a little more than twice the gain in mean IoU
    confusion = np.array([[hits, truth[0] - hits, 0], [0, truth[1], 0], [0, 0, 0]])
    assert is_beaten(confusion) is expected


def test_is_beaten_by_one_learned_class_of_many() -> None:
    classes = tuple(SegmentationClass(f"class_{index}", "#e69f00", foreground=index > 0) for index in range(150))
    truth = np.full(150, 100)
    truth[[0, 7]] = 2000, 1000
    confusion = np.zeros((150, 150), np.int64)
    confusion[:, 0] = truth
    confusion[7, 0], confusion[7, 7] = 0, 1000
    shares = truth / truth.sum()
    baseline = OneClassBaseline.of(shares, shares, classes)
    scores = score(0.1, confusion, classes)
    assert 0 < scores.mean_iou - baseline.scores.mean_iou < MIN_IOU_GAIN
    assert baseline.is_beaten_by(scores) is True


def test_the_check_carries_both_sides_numbers() -> None:
    on_validation = np.array([[0, 10, 0], [0, 90, 0], [0, 0, 0]])
    on_training = np.diag([20, 80, 0])
    check = check_one_class(
        score(0.2, on_validation, CLASSES),
        baseline(on_validation),
        score(0.1, on_training, CLASSES),
        baseline(on_training),
    )
    assert (check.validation, check.training, check.instead_of_learning) == (False, True, "memorising")
    assert check.phrase.startswith(f"{LABEL} (background; ")
    assert "on validation mean IoU 0.450 (0.450), IoU of animal 0.000 (0.000)" in check.phrase
    assert "training images mean IoU 1.000 (0.400), IoU of animal 1.000 (0.000)" in check.phrase
