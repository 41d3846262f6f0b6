"""Scores: cases counted by hand, and properties."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pipeline.analysis.scores import (
    compute_accuracy,
    compute_class_iou,
    compute_foreground_iou,
    compute_mean_iou,
    compute_scores,
)
from pipeline.artifacts.prepared_data import SegmentationClass

CLASSES = (
    SegmentationClass("animal", "#e69f00", foreground=True),
    SegmentationClass("background", "#0072b2", foreground=False),
    SegmentationClass("border", "#f0e442", foreground=False),
)
#           predicted: animal, background, border
BY_HAND = np.array([[6, 2, 0], [1, 9, 0], [0, 0, 0]])

COUNTS = st.one_of(st.just(0), st.integers(0, 1000))
ANY_CONFUSIONS = arrays(np.int64, (3, 3), elements=COUNTS)
CONFUSIONS = ANY_CONFUSIONS.filter(lambda table: table.sum() > 0)


def test_compute_scores_by_hand() -> None:
    scores = compute_scores(0.5, BY_HAND, CLASSES)
    assert scores.accuracy == pytest.approx(15 / 18)
    assert scores.iou == {"animal": pytest.approx(6 / 9), "background": pytest.approx(9 / 12), "border": None}
    assert scores.mean_iou == pytest.approx((6 / 9 + 9 / 12) / 2)  # border is not in the ground truth
    assert scores.foreground_iou == pytest.approx(6 / 9)


def test_compute_scores_of_a_class_not_in_the_ground_truth_lowers_only_the_others() -> None:
    confusion = np.array([[4, 0, 4], [0, 8, 0], [0, 0, 0]])
    scores = compute_scores(0.5, confusion, CLASSES)
    assert scores.mean_iou == pytest.approx((0.5 + 1) / 2)
    assert scores.iou["border"] is None


def test_compute_scores_of_a_missed_class_has_iou_0() -> None:
    confusion = np.array([[0, 8, 0], [0, 8, 0], [0, 0, 0]])
    assert compute_scores(0.5, confusion, CLASSES).iou["animal"] == 0


def test_compute_foreground_iou_combines_foreground_classes() -> None:
    both = np.array([True, False, True])
    confusion = np.array([[4, 1, 3], [2, 9, 0], [0, 0, 1]])  # confusing animal with border is not an error here
    assert compute_foreground_iou(confusion, both) == pytest.approx(8 / 11)


@given(CONFUSIONS)
def test_compute_scores_is_between_0_and_1(confusion: np.ndarray) -> None:
    scores = compute_scores(0.5, confusion, CLASSES)
    for value in (scores.accuracy, scores.mean_iou, scores.foreground_iou, *scores.iou.values()):
        assert value is None or 0 <= value <= 1


@given(ANY_CONFUSIONS)
def test_compute_scores_is_none_exactly_where_undefined(confusion: np.ndarray) -> None:
    scores = compute_scores(0.5, confusion, CLASSES)
    has_pixels = bool(confusion.any())
    assert [value is not None for value in (scores.loss, scores.accuracy, scores.mean_iou)] == [has_pixels] * 3
    foreground_union = confusion[0].sum() + confusion[:, 0].sum()
    assert (scores.foreground_iou is None) == (foreground_union == 0)
    in_ground_truth = {item.name: bool(row.any()) for item, row in zip(CLASSES, confusion, strict=True)}
    assert {name: value is not None for name, value in scores.iou.items()} == in_ground_truth
    unions = confusion.sum(axis=0) + confusion.sum(axis=1)
    assert np.isnan(compute_class_iou(confusion)).tolist() == (unions == 0).tolist()


@given(arrays(np.int64, (4, 3, 3), elements=COUNTS))
def test_compute_functions_of_many_images_equal_those_of_each(confusion: np.ndarray) -> None:
    foreground = np.array([item.foreground for item in CLASSES])
    for function in (
        compute_accuracy,
        compute_mean_iou,
        lambda table: compute_foreground_iou(table, foreground),
    ):
        np.testing.assert_array_equal(function(confusion), [float(function(table)) for table in confusion])


@given(CONFUSIONS)
def test_compute_scores_ignores_an_image_without_evaluated_pixels(confusion: np.ndarray) -> None:
    void = np.zeros_like(confusion)
    assert compute_scores(0.5, np.stack([confusion, void]).sum(axis=0), CLASSES) == compute_scores(
        0.5, confusion, CLASSES
    )


def test_compute_scores_without_any_foreground_has_no_foreground_iou() -> None:
    scores = compute_scores(0.5, np.diag([0, 9, 3]), CLASSES)
    assert (scores.foreground_iou, scores.mean_iou, scores.accuracy) == (None, 1, 1)


def test_compute_foreground_iou_of_foreground_classes_only_is_undefined() -> None:
    classes = tuple(replace(item, foreground=True) for item in CLASSES)
    assert compute_scores(0.5, BY_HAND, classes).foreground_iou is None
    by_image = compute_foreground_iou(np.stack([BY_HAND, BY_HAND]), np.ones(3, bool))
    assert by_image.shape == (2,) and np.isnan(by_image).all()


def test_compute_scores_of_a_false_positive_has_foreground_iou_0() -> None:
    assert compute_scores(0.5, np.array([[0, 0, 0], [1, 8, 0], [0, 0, 0]]), CLASSES).foreground_iou == 0


@given(CONFUSIONS, st.permutations(range(3)))
def test_compute_functions_are_invariant_to_the_order_of_classes(confusion: np.ndarray, order: list[int]) -> None:
    shuffled = confusion[np.ix_(order, order)]
    assert compute_mean_iou(shuffled) == pytest.approx(float(compute_mean_iou(confusion)))
    assert compute_accuracy(shuffled) == pytest.approx(float(compute_accuracy(confusion)))
