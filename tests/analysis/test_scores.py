"""Scores against counting by hand, and their laws."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pipeline.analysis import scores
from pipeline.runs import SegmentationClass

CLASSES = (
    SegmentationClass("animal", "#e69f00", foreground=True),
    SegmentationClass("background", "#0072b2", foreground=False),
    SegmentationClass("border", "#f0e442", foreground=False),
)
#           predicted: animal, background, border
BY_HAND = np.array([[6, 2, 0], [1, 9, 0], [0, 0, 0]])

counts = st.one_of(st.just(0), st.integers(0, 1000))
any_tables = arrays(np.int64, (3, 3), elements=counts)
tables = any_tables.filter(lambda table: table.sum() > 0)


def test_by_hand() -> None:
    found = scores.score(0.5, BY_HAND, CLASSES)
    assert found.accuracy == pytest.approx(15 / 18)
    assert found.iou == {"animal": pytest.approx(6 / 9), "background": pytest.approx(9 / 12), "border": None}
    assert found.mean_iou == pytest.approx((6 / 9 + 9 / 12) / 2)  # border is not in the truth
    assert found.foreground_iou == pytest.approx(6 / 9)


def test_a_class_that_is_predicted_but_not_there_counts_against_the_others_only() -> None:
    confusion = np.array([[4, 0, 4], [0, 8, 0], [0, 0, 0]])
    found = scores.score(0.5, confusion, CLASSES)
    assert found.mean_iou == pytest.approx((0.5 + 1) / 2)
    assert found.iou["border"] is None


def test_missing_a_class_of_the_truth_scores_zero_for_it() -> None:
    confusion = np.array([[0, 8, 0], [0, 8, 0], [0, 0, 0]])
    assert scores.score(0.5, confusion, CLASSES).iou["animal"] == 0


def test_several_foreground_classes_count_as_one() -> None:
    both = np.array([True, False, True])
    confusion = np.array([[4, 1, 3], [2, 9, 0], [0, 0, 1]])  # animal taken for border is no error here
    assert scores.foreground_iou(confusion, both) == pytest.approx(8 / 11)


@given(tables)
def test_scores_stay_between_0_and_1(confusion: np.ndarray) -> None:
    found = scores.score(0.5, confusion, CLASSES)
    for value in (found.accuracy, found.mean_iou, found.foreground_iou, *found.iou.values()):
        assert value is None or 0 <= value <= 1


@given(any_tables)
def test_scores_are_none_where_and_only_where_they_are_undefined(confusion: np.ndarray) -> None:
    found = scores.score(0.5, confusion, CLASSES)
    has_pixels = bool(confusion.any())
    assert [value is not None for value in (found.loss, found.accuracy, found.mean_iou)] == [has_pixels] * 3
    foreground_union = confusion[0].sum() + confusion[:, 0].sum()
    assert (found.foreground_iou is None) == (foreground_union == 0)
    in_truth = {item.name: bool(row.any()) for item, row in zip(CLASSES, confusion, strict=True)}
    assert {name: value is not None for name, value in found.iou.items()} == in_truth
    unions = confusion.sum(axis=0) + confusion.sum(axis=1)
    assert np.isnan(scores.iou_by_class(confusion)).tolist() == (unions == 0).tolist()


@given(arrays(np.int64, (4, 3, 3), elements=counts))
def test_scores_of_many_images_equal_those_of_each(confusion: np.ndarray) -> None:
    foreground = np.array([item.foreground for item in CLASSES])
    for function in (scores.accuracy, scores.mean_iou, lambda table: scores.foreground_iou(table, foreground)):
        np.testing.assert_array_equal(function(confusion), [float(function(table)) for table in confusion])


@given(tables)
def test_scores_of_a_set_ignore_an_image_without_evaluated_pixels(confusion: np.ndarray) -> None:
    void = np.zeros_like(confusion)
    assert scores.score(0.5, np.stack([confusion, void]).sum(axis=0), CLASSES) == scores.score(0.5, confusion, CLASSES)


def test_foreground_iou_of_an_empty_prediction_without_foreground_is_undefined() -> None:
    found = scores.score(0.5, np.diag([0, 9, 3]), CLASSES)
    assert (found.foreground_iou, found.mean_iou, found.accuracy) == (None, 1, 1)


def test_foreground_iou_of_foreground_classes_only_is_undefined() -> None:
    classes = tuple(replace(item, foreground=True) for item in CLASSES)
    assert scores.score(0.5, BY_HAND, classes).foreground_iou is None
    by_image = scores.foreground_iou(np.stack([BY_HAND, BY_HAND]), np.ones(3, bool))
    assert by_image.shape == (2,) and np.isnan(by_image).all()


def test_foreground_iou_of_a_false_positive_is_zero() -> None:
    assert scores.score(0.5, np.array([[0, 0, 0], [1, 8, 0], [0, 0, 0]]), CLASSES).foreground_iou == 0


@given(tables, st.permutations(range(3)))
def test_the_order_of_the_classes_changes_nothing(confusion: np.ndarray, order: list[int]) -> None:
    shuffled = confusion[np.ix_(order, order)]
    assert scores.mean_iou(shuffled) == pytest.approx(float(scores.mean_iou(confusion)))
    assert scores.accuracy(shuffled) == pytest.approx(float(scores.accuracy(confusion)))


def test_the_baseline_on_the_training_shares_is_their_entropy() -> None:
    shares = np.array([0.2, 0.7, 0.1])
    found = scores.baseline(shares, shares, CLASSES)
    assert found.loss == pytest.approx(-(0.2 * np.log(0.2) + 0.7 * np.log(0.7) + 0.1 * np.log(0.1)))
    assert found.accuracy == pytest.approx(0.7)
    assert found.mean_iou == pytest.approx(0.7 / 3)


@given(arrays(np.float64, 3, elements=st.floats(0.01, 1)), arrays(np.float64, 3, elements=st.floats(0.01, 1)))
def test_other_shares_than_the_sets_own_never_score_better(train: np.ndarray, own: np.ndarray) -> None:
    train, own = train / train.sum(), own / own.sum()
    assert scores.baseline(train, own, CLASSES).loss >= scores.baseline(own, own, CLASSES).loss - 1e-12


def test_the_baseline_of_a_set_without_a_class_leaves_it_undefined() -> None:
    found = scores.baseline(np.array([0.2, 0.7, 0.1]), np.array([0.0, 0.8, 0.2]), CLASSES)
    assert found.foreground_iou is None
    assert found.iou == {"animal": None, "background": pytest.approx(0.8), "border": 0}
    assert found.mean_iou == pytest.approx(0.4)
