"""Metrics by class follow their definitions, and their intervals behave."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from pipeline.analysis.clustered_mean import GroupedLosses
from pipeline.analysis.gap_interval import estimate_gap
from pipeline.analysis.metrics import ImageMetrics, compute_pooled_scores, tabulate_metrics
from pipeline.analysis.score_intervals import Interval, compute_pseudo_values, estimate_mean_intervals
from pipeline.artifacts.comparison import MetricRow
from pipeline.artifacts.evaluation_folder import ClassPixels

NAMES = ("cell", "background", "border")


def count_pixels(confusions: np.ndarray) -> ClassPixels:
    """Count the pixels of confusion matrices N x C x C."""
    return ClassPixels(confusions.sum(axis=2), confusions.sum(axis=1), np.diagonal(confusions, axis1=1, axis2=2))


def tabulate(confusions: np.ndarray, surfaces: np.ndarray | None = None) -> dict[tuple[str, str], MetricRow]:
    if surfaces is None:
        surfaces = np.full((len(confusions), len(NAMES), 4), np.nan)
    images = ImageMetrics(count_pixels(confusions), surfaces, (np.arange(len(confusions)),))
    return {(row.metric, row.class_name): row for row in tabulate_metrics(images, NAMES)}


CONFUSIONS = arrays.arrays(np.int64, st.tuples(st.integers(1, 6), st.just(3), st.just(3)), elements=st.integers(0, 50))


@given(CONFUSIONS)
def test_pooled_metrics_have_their_definitions(confusions: np.ndarray) -> None:
    rows, matrix = tabulate(confusions), confusions.sum(axis=0)
    for index, name in enumerate(NAMES):
        true, guessed, hits = matrix[index].sum(), matrix[:, index].sum(), matrix[index, index]
        precision = hits / guessed if guessed else None
        recall = hits / true if true else None
        assert rows["precision", name].value == pytest.approx(precision)
        assert rows["recall", name].value == pytest.approx(recall)
        assert rows["iou", name].value == pytest.approx(hits / (true + guessed - hits) if true else None)
        iou, dice = rows["iou", name].value, rows["dice", name].value
        if iou is None:
            assert dice is None
        else:
            assert dice == pytest.approx(2 * iou / (1 + iou))
    present = [name for index, name in enumerate(NAMES) if matrix[index].sum()]
    for whole, part in (("mean_iou", "iou"), ("mean_dice", "dice"), ("balanced_accuracy", "recall")):
        values = [rows[part, name].value or 0.0 for name in present]
        assert rows[whole, ""].value == pytest.approx(np.mean(values) if values else None)
    total = matrix.sum()
    assert rows["accuracy", ""].value == pytest.approx(np.trace(matrix) / total if total else None)


@given(CONFUSIONS, st.integers(1, 12))
@settings(max_examples=20)
def test_images_without_evaluated_pixels_change_nothing(confusions: np.ndarray, count: int) -> None:
    ignored = np.zeros((count, 3, 3), np.int64)
    evaluated = confusions[confusions.any(axis=(1, 2))]
    assert tabulate(np.concatenate([ignored, confusions])) == tabulate(evaluated)


@given(CONFUSIONS)
def test_metrics_by_image_are_means_over_images_with_the_class(confusions: np.ndarray) -> None:
    rows = tabulate(confusions)
    for index, name in enumerate(NAMES):
        dice = [
            2 * matrix[index, index] / (matrix[index].sum() + matrix[:, index].sum())
            for matrix in confusions
            if matrix[index].sum() + matrix[:, index].sum()
        ]
        row = rows["image_dice", name]
        assert row.images == len(dice)
        assert row.value == pytest.approx(np.mean(dice) if dice else None)
        if dice:
            assert row.worst_decile is not None
            assert row.median is not None
            assert row.worst_decile <= row.median


def test_perfect_predictions_score_1() -> None:
    rows = tabulate(np.stack([np.diag([5, 80, 15])] * 12))
    values = {row.value for (name, _), row in rows.items() if name not in ("boundary_iou", "nsd", "hd95", "asd")}
    assert values == {1.0}
    assert {(row.low, row.high) for (name, _), row in rows.items() if name == "iou"} == {(1.0, 1.0)}


def test_undefined_surface_scores_are_counted_and_left_out() -> None:
    confusions = np.stack([np.diag([5, 80, 15])] * 12)
    surfaces = np.full((12, 3, 4), 3.0)
    surfaces[:2, 0, 2:] = np.nan
    row = tabulate(confusions, surfaces)["hd95", "cell"]
    assert (row.value, row.images, row.undefined) == (3.0, 10, 2)


def test_worst_decile_of_a_distance_is_a_high_one() -> None:
    surfaces = np.zeros((40, 3, 4))
    surfaces[:, :, 2] = np.arange(40)[:, None]
    surfaces[:, :, 1] = np.arange(40)[:, None] / 40
    rows = tabulate(np.stack([np.diag([5, 80, 15])] * 40), surfaces)
    assert (rows["hd95", "cell"].worst_decile or 0) > 30
    assert (rows["nsd", "cell"].worst_decile or 0) < 0.25


@given(arrays.arrays(np.float64, st.integers(2, 30), elements=st.floats(-5, 5)))
def test_pseudo_values_of_a_mean_are_the_values(values: np.ndarray) -> None:
    sums = np.stack([values, np.ones(len(values))], axis=1)
    found = compute_pseudo_values(sums, lambda totals: totals[:, :1] / totals[:, 1:])
    np.testing.assert_allclose(found[:, 0], values, atol=1e-9)


def estimate_mean_interval(
    values: np.ndarray, groups: tuple[np.ndarray, ...], limits: Interval = (-np.inf, np.inf)
) -> Interval | None:
    (found,) = estimate_mean_intervals(values[:, None], groups, np.array([limits]))
    return found


def test_interval_needs_ten_groups_and_narrows_with_more_images() -> None:
    random = np.random.default_rng(0)
    values = random.normal(0.7, 0.1, 400)
    assert estimate_mean_interval(values[:9], (np.arange(9),)) is None
    assert estimate_mean_interval(values, (np.arange(400) % 9,)) is None
    assert estimate_mean_interval(np.full(20, np.nan), (np.arange(20),)) is None
    few, many = (estimate_mean_interval(values[:size], (np.arange(size),)) for size in (25, 400))
    assert few is not None
    assert many is not None
    assert many[1] - many[0] < (few[1] - few[0]) / 2
    clipped = estimate_mean_interval(values + 0.3, (np.arange(400),), (0.0, 1.0))
    assert clipped is not None
    assert clipped[1] <= 1


@given(
    st.integers(0, 2**32 - 1),
    arrays.arrays(np.bool_, (24, 3)),
    st.integers(1, 2),
    st.integers(10, 24),
)
@settings(max_examples=25)
def test_intervals_of_several_means_are_those_of_each_mean(
    seed: int, missing: np.ndarray, num_kinds: int, num_groups: int
) -> None:
    """Images are left out of the means for which they have no value."""
    values = np.random.default_rng(seed).lognormal(0, 1, (24, 3))
    values[missing & (np.arange(3) > 0)] = np.nan
    groups = (np.arange(24) % num_groups, np.arange(24) % 11)[:num_kinds]
    found = estimate_mean_intervals(values, groups, np.array([(-np.inf, np.inf)] * 3))
    for column, interval in zip(values.T, found, strict=True):
        images = np.isfinite(column)
        single = GroupedLosses(column[None, images], np.ones(images.sum(), np.int64), tuple(g[images] for g in groups))
        nothing = GroupedLosses(np.zeros((1, 1)), np.ones(1, np.int64), (np.zeros(1, np.int64),))
        expected = estimate_gap(single, nothing, 0, num_train_images=1, num_resamples=2_000) if images.any() else None
        if expected is None or expected.low is None:
            assert interval is None
        else:
            assert interval == pytest.approx((expected.low, expected.high), rel=1e-9)


def test_interval_of_equal_values_is_a_point_and_of_nearly_equal_ones_unknown_without_a_limit() -> None:
    values = np.full((20, 3), 0.1 + 0.2)
    values[0, 1:] = 0.9
    limits = np.array([(0, np.inf), (0, np.inf), (0, 1)])
    same, unlimited, limited = estimate_mean_intervals(values, (np.arange(20),), limits)
    assert same == pytest.approx((0.3, 0.3))
    assert unlimited is None
    assert limited == (0, 1)


def test_scores_of_no_pixels_are_undefined() -> None:
    scores = compute_pooled_scores(np.zeros((1, 3, 3)))
    assert all(np.isnan(values).all() for values in scores.values())
