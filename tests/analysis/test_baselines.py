"""Class-prior and one-class baseline: cases by hand, and properties."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pipeline.analysis.baselines import (
    MIN_IOU_GAIN,
    ONE_CLASS_LABEL,
    OneClassBaseline,
    check_one_class,
    compute_class_prior_baseline,
)
from pipeline.analysis.scores import compute_scores
from pipeline.artifacts.prepared_data import SegmentationClass

ANIMAL = SegmentationClass("animal", "#e69f00", foreground=True)
BACKGROUND = SegmentationClass("background", "#0072b2", foreground=False)
BORDER = SegmentationClass("border", "#f0e442", foreground=False)
CLASSES = (ANIMAL, BACKGROUND, BORDER)

COUNTS = st.one_of(st.just(0), st.integers(1, 1000))
CONFUSIONS = arrays(np.int64, (3, 3), elements=COUNTS).filter(lambda table: table.sum() > 0)


def make_baseline(confusion: np.ndarray, train: np.ndarray | None = None) -> OneClassBaseline:
    """Compute the baseline on the images of a confusion table; training has the same class shares if none are given."""
    shares = confusion.sum(axis=1) / confusion.sum()
    return OneClassBaseline.from_shares(shares if train is None else train, shares, CLASSES)


def is_beaten(confusion: np.ndarray, train: np.ndarray | None = None) -> bool | None:
    return make_baseline(confusion, train).is_beaten_by(compute_scores(0.1, confusion, CLASSES))


def test_class_prior_baseline_of_equal_shares_is_their_entropy() -> None:
    shares = np.array([0.2, 0.7, 0.1])
    scores = compute_class_prior_baseline(shares, shares, CLASSES)
    assert scores.loss == pytest.approx(-(0.2 * np.log(0.2) + 0.7 * np.log(0.7) + 0.1 * np.log(0.1)))
    assert scores.accuracy == pytest.approx(0.7)
    assert scores.mean_iou == pytest.approx(0.7 / 3)


@given(arrays(np.float64, 3, elements=st.floats(0.01, 1)), arrays(np.float64, 3, elements=st.floats(0.01, 1)))
def test_class_prior_baseline_with_other_shares_is_never_better(train: np.ndarray, own: np.ndarray) -> None:
    train, own = train / train.sum(), own / own.sum()
    assert (
        compute_class_prior_baseline(train, own, CLASSES).loss
        >= compute_class_prior_baseline(own, own, CLASSES).loss - 1e-12
    )


def test_class_prior_baseline_of_a_missing_class_is_undefined() -> None:
    scores = compute_class_prior_baseline(np.array([0.2, 0.7, 0.1]), np.array([0.0, 0.8, 0.2]), CLASSES)
    assert scores.foreground_iou is None
    assert scores.iou == {"animal": None, "background": pytest.approx(0.8), "border": 0}
    assert scores.mean_iou == pytest.approx(0.4)


@given(CONFUSIONS)
def test_is_beaten_by_the_most_frequent_class_is_false(confusion: np.ndarray) -> None:
    constant = np.zeros_like(confusion)
    constant[:, confusion.sum(axis=1).argmax()] = confusion.sum(axis=1)
    has_several_classes = (confusion.sum(axis=1) > 0).sum() > 1
    assert is_beaten(constant) is (False if has_several_classes else None)


@given(CONFUSIONS)
def test_is_beaten_by_a_perfect_prediction_of_two_classes_is_true(confusion: np.ndarray) -> None:
    pixels = confusion.sum(axis=1)
    assert is_beaten(np.diag(pixels)) is (True if (pixels > 0).sum() > 1 else None)


@given(CONFUSIONS)
def test_is_beaten_by_masks_without_foreground_is_false(confusion: np.ndarray) -> None:
    confusion[0, 0] = 0
    pixels = confusion.sum(axis=1)
    assume(pixels[0] > 0)
    assume(pixels.argmax() != 0)
    assert is_beaten(confusion) is False


def test_is_beaten_by_uses_mean_iou_if_foreground_is_most_frequent() -> None:
    confusion = np.array([[80, 5, 0], [5, 10, 0], [0, 0, 0]])
    assert make_baseline(confusion).predicted_class == ANIMAL
    assert is_beaten(confusion) is True


def test_is_beaten_by_uses_mean_iou_if_the_set_has_no_foreground() -> None:
    confusion = np.array([[0, 0, 0], [0, 80, 2], [0, 3, 15]])
    assert is_beaten(confusion, train=np.array([0.1, 0.7, 0.2])) is True


@pytest.mark.parametrize(("gain", "expected"), [(MIN_IOU_GAIN / 2, False), (2 * MIN_IOU_GAIN, True)])
def test_is_beaten_by_requires_the_minimum_gain(gain: float, expected: bool) -> None:
    total = 1_000_000
    truth = np.array([total // 10, 9 * total // 10])
    hits = int(2.2 * gain * truth[0])  # of the foreground: its IoU is a little more than twice the gain in mean IoU
    confusion = np.array([[hits, truth[0] - hits, 0], [0, truth[1], 0], [0, 0, 0]])
    assert is_beaten(confusion) is expected


def test_is_beaten_by_one_learned_class_of_many_is_true() -> None:
    classes = tuple(SegmentationClass(f"class_{index}", "#e69f00", foreground=index > 0) for index in range(150))
    truth = np.full(150, 100)
    truth[[0, 7]] = 2000, 1000
    confusion = np.zeros((150, 150), np.int64)
    confusion[:, 0] = truth
    confusion[7, 0], confusion[7, 7] = 0, 1000
    shares = truth / truth.sum()
    baseline = OneClassBaseline.from_shares(shares, shares, classes)
    scores = compute_scores(0.1, confusion, classes)
    assert 0 < scores.mean_iou - baseline.scores.mean_iou < MIN_IOU_GAIN
    assert baseline.is_beaten_by(scores) is True


def test_check_one_class_describes_both_sides() -> None:
    on_validation = np.array([[0, 10, 0], [0, 90, 0], [0, 0, 0]])
    on_training = np.diag([20, 80, 0])
    check = check_one_class(
        compute_scores(0.2, on_validation, CLASSES),
        make_baseline(on_validation),
        compute_scores(0.1, on_training, CLASSES),
        make_baseline(on_training),
    )
    assert (check.beats_on_validation, check.beats_on_train, check.fallback_verdict) == (False, True, "memorizing")
    assert check.phrase.startswith(f"{ONE_CLASS_LABEL} (background; ")
    assert "on validation mean IoU 0.450 (0.450), IoU of animal 0.000 (0.000)" in check.phrase
    assert "training images mean IoU 1.000 (0.400), IoU of animal 1.000 (0.000)" in check.phrase
