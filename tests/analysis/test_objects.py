"""Matching and scores of objects: equal to StarDist's, and the laws that they obey."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from pipeline.analysis.objects import IOU_THRESHOLDS, ObjectKind, ObjectMatches, match_objects, score_objects
from pipeline.artifacts.object_scores import ObjectScores
from tests.optional import import_or_skip

SIDE = 12
LABELS = arrays.arrays(np.int32, st.tuples(st.integers(1, SIDE), st.integers(1, SIDE)), elements=st.integers(0, 4))


@st.composite
def draw_label_pairs(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Draw two label images of the same shape: rectangles, and sometimes the second one similar to the first one."""
    shape = draw(st.tuples(st.integers(1, SIDE), st.integers(1, SIDE)))
    first, second = (np.zeros(shape, np.int32) for _ in range(2))
    for labels in (first, second):
        for number in draw(st.lists(st.integers(0, 5), max_size=6)):
            top, left = (draw(st.integers(0, side - 1)) for side in shape)
            height, width = draw(st.integers(1, 8)), draw(st.integers(1, 8))
            labels[top : top + height, left : left + width] = number
    if draw(st.booleans()):
        second = np.where(np.arange(first.size).reshape(shape) % draw(st.integers(2, 9)), first, second)
    return first, second


def draw_blobs(random: np.random.Generator, base: np.ndarray | None = None) -> np.ndarray:
    """Draw up to 30 ellipses with gaps in their numbers, or distort the ones in `base`: shift, merge, split, remove."""
    y, x = np.mgrid[:96, :112]
    if base is None:
        labels = np.zeros(y.shape, np.int32)
        for number in random.choice(np.arange(1, 400), int(random.integers(0, 31)), replace=False):
            row, column, *radii = random.uniform((0, 0, 3, 3), (96, 112, 12, 12))
            labels[((y - row) / radii[0]) ** 2 + ((x - column) / radii[1]) ** 2 < 1] = number
        return labels
    labels = np.roll(base, random.integers(-2, 3, 2), (0, 1))
    for number in np.unique(labels)[1:]:
        fate = random.random()
        if fate < 0.1:
            labels[labels == number] = 0
        elif fate < 0.2:
            labels[labels == number] = random.choice(np.unique(labels)[1:]) if labels.any() else 0
        elif fate < 0.3:
            labels[(labels == number) & (x > np.median(x[labels == number]))] = 500 + number
    labels[random.random(labels.shape) < 0.02] = random.integers(1, 900)
    return labels


def score(truth: np.ndarray, prediction: np.ndarray) -> ObjectScores:
    return score_objects([match_objects(truth, prediction)])


def compute_aji_by_algorithm(truth: np.ndarray, prediction: np.ndarray) -> float | None:
    """Follow algorithm 1 of Kumar et al. 2017 literally; of several objects with the same IoU, the first one counts."""
    objects = [truth == number for number in list_in_raster_order(truth)]
    predicted = [prediction == number for number in list_in_raster_order(prediction)]
    intersection = union = 0
    used: set[int] = set()
    for found in objects:
        ious = [(found & other).sum() / (found | other).sum() for other in predicted]
        if not ious or max(ious) == 0:
            union += found.sum()
            continue
        best = int(np.argmax(ious))
        intersection += (found & predicted[best]).sum()
        union += (found | predicted[best]).sum()
        used.add(best)
    union += sum(other.sum() for index, other in enumerate(predicted) if index not in used)
    return intersection / union if union else None


def list_in_raster_order(labels: np.ndarray) -> list[int]:
    return list(dict.fromkeys(labels[labels > 0].tolist()))


def test_scores_equal_those_of_stardist() -> None:
    stardist = import_or_skip("stardist.matching")
    random = np.random.default_rng(0)
    truths, matches, num_compared = [], [], 0
    for _ in range(500):
        truth = draw_blobs(random)
        prediction = draw_blobs(random, truth if random.random() < 0.9 else None)
        theirs = stardist.matching(truth, prediction, thresh=IOU_THRESHOLDS)
        found = match_objects(truth, prediction)
        ours = score_objects([found])
        for one, other in zip(ours.by_threshold, theirs, strict=True):
            assert (one.iou, one.matched) == (other.thresh, other.tp)
            assert (ours.objects, ours.predicted) == (other.n_true, other.n_pred)
            pairs = zip(
                (one.precision, one.recall, one.f1, one.average_precision),
                (other.precision, other.recall, other.f1, other.accuracy),
                strict=True,
            )
            # StarDist gives 0 for undefined scores.
            assert all((mine or 0) == pytest.approx(its) for mine, its in pairs)
            num_compared += 1
        assert (ours.panoptic_quality or 0) == pytest.approx(theirs[0].panoptic_quality, rel=1e-5)
        truths.append((truth, prediction))
        matches.append(found)
    assert num_compared == 5000
    pooled = stardist.matching_dataset(*zip(*truths, strict=True), thresh=IOU_THRESHOLDS, show_progress=False)
    ours = score_objects(matches)
    for one, other in zip(ours.by_threshold, pooled, strict=True):
        assert (one.matched, ours.objects, ours.predicted) == (other.tp, other.n_true, other.n_pred)
        assert one.average_precision == pytest.approx(other.accuracy)
        assert one.f1 == pytest.approx(other.f1)
    assert ours.panoptic_quality == pytest.approx(pooled[0].panoptic_quality, rel=1e-5)
    assert ours.mean_average_precision == pytest.approx(np.mean([other.accuracy for other in pooled]))


@given(draw_label_pairs())
def test_scores_of_small_label_images_equal_those_of_stardist(pair: tuple[np.ndarray, np.ndarray]) -> None:
    stardist = import_or_skip("stardist.matching")
    ours = score(*pair)
    theirs = stardist.matching(*pair, thresh=IOU_THRESHOLDS)
    assert [one.matched for one in ours.by_threshold] == [other.tp for other in theirs]
    assert (ours.panoptic_quality or 0) == pytest.approx(theirs[0].panoptic_quality, rel=1e-5)


def test_aggregated_jaccard_equals_its_algorithm() -> None:
    random = np.random.default_rng(1)
    for _ in range(100):
        truth = draw_blobs(random)
        prediction = draw_blobs(random, truth)
        assert score(truth, prediction).aggregated_jaccard == compute_aji_by_algorithm(truth, prediction)


@given(draw_label_pairs())
def test_aggregated_jaccard_of_small_label_images_equals_its_algorithm(pair: tuple[np.ndarray, np.ndarray]) -> None:
    assert score(*pair).aggregated_jaccard == compute_aji_by_algorithm(*pair)


@given(draw_label_pairs())
def test_exchanging_truth_and_prediction_exchanges_errors_and_keeps_f1(pair: tuple[np.ndarray, np.ndarray]) -> None:
    one, other = score(*pair), score(*reversed(pair))
    assert (one.f1, one.average_precision, one.mean_average_precision) == (
        other.f1,
        other.average_precision,
        other.mean_average_precision,
    )
    assert (one.precision, one.recall, one.panoptic_quality) == (other.recall, other.precision, other.panoptic_quality)
    assert (one.merges, one.missed) == (other.splits, other.false_objects)


@given(LABELS)
def test_a_perfect_prediction_scores_1(labels: np.ndarray) -> None:
    found = score(labels, labels)
    scores = (
        found.precision, found.recall, found.f1, found.average_precision, found.mean_average_precision,
        found.aggregated_jaccard, found.panoptic_quality,
    )  # fmt: skip
    assert set(scores) == ({1.0} if labels.any() else {None})
    assert (found.merges, found.splits, found.missed, found.false_objects) == (0, 0, 0, 0)


@given(draw_label_pairs(), st.permutations(range(1, 6)), st.permutations(range(1, 6)), st.integers(0, 10**6))
def test_other_numbers_do_not_change_scores(
    pair: tuple[np.ndarray, np.ndarray], numbers: list[int], others: list[int], offset: int
) -> None:
    truth, prediction = pair
    renamed = [np.array([0, *(number + offset for number in order)]) for order in (numbers, others)]
    assert score(renamed[0][truth], renamed[1][prediction]) == score(truth, prediction)


@given(LABELS, LABELS)
def test_scores_are_bounded_and_counts_add_up(truth: np.ndarray, prediction: np.ndarray) -> None:
    shape = tuple(map(min, truth.shape, prediction.shape))
    truth, prediction = (labels[: shape[0], : shape[1]] for labels in (truth, prediction))
    found = score(truth, prediction)
    for value in (found.f1, found.average_precision, found.panoptic_quality, found.aggregated_jaccard):
        assert value is None or 0 <= value <= 1
    assert found.matched <= min(found.objects, found.predicted)
    assert found.missed + found.matched <= found.objects
    assert found.false_objects + found.matched <= found.predicted
    if found.f1 is not None and found.average_precision is not None:
        assert found.average_precision <= found.f1
        assert found.f1 == pytest.approx(2 * found.average_precision / (1 + found.average_precision))
    matched = [one.matched for one in found.by_threshold]
    assert matched == sorted(matched, reverse=True)


@given(st.integers(2, 10), st.integers(1, 9))
def test_an_object_cut_in_two_is_one_split(width: int, cut: int) -> None:
    truth = np.zeros((5, 20), np.int32)
    truth[1:4, 2 : 2 + width] = 1
    truth[1:4, 14:18] = 2
    prediction = truth.copy()
    prediction[1:4, 2 : 2 + min(cut, width - 1)] = 3
    found = match_objects(truth, prediction)
    assert (found.splits, found.merges, found.missed, found.false_objects) == (1, 0, 0, 0)
    assert found.true_kinds.tolist() == [ObjectKind.SPLIT, ObjectKind.MATCHED]
    assert sorted(found.predicted_kinds.tolist()) == [ObjectKind.MATCHED, ObjectKind.SPLIT, ObjectKind.SPLIT]


@given(st.integers(2, 6))
def test_several_objects_predicted_as_one_are_one_merge(count: int) -> None:
    truth = np.repeat(np.arange(1, count + 1, dtype=np.int32), 4)[None].repeat(3, axis=0)
    found = match_objects(truth, np.ones_like(truth))
    assert (found.merges, found.splits, found.missed, found.false_objects) == (1, 0, 0, 0)
    assert set(found.true_kinds.tolist()) == set(found.predicted_kinds.tolist()) == {ObjectKind.MERGED}


def test_an_object_inside_a_much_larger_one_is_no_merge() -> None:
    truth = np.zeros((20, 20), np.int32)
    truth[1:3, 1:3], truth[5:7, 5:7] = 1, 2
    found = match_objects(truth, np.ones_like(truth))
    assert (found.merges, found.missed, found.false_objects) == (0, 2, 1)


def test_objects_of_another_class_do_not_match() -> None:
    labels = np.array([[1, 1, 0, 2, 2]])
    classes, others = np.array([0, 1, 2], np.uint8), np.array([0, 1, 1], np.uint8)
    found = match_objects(labels, labels, classes, others)
    assert (len(found.ious), found.missed, found.false_objects) == (1, 1, 1)


@pytest.mark.parametrize(
    ("truth", "prediction", "expected"),
    [
        ([0, 0], [0, 0], (None, None, None, None, None, None)),
        ([1, 1], [0, 0], (None, 0, 0, 0, 0, 0)),
        ([0, 0], [1, 1], (0, None, 0, 0, 0, 0)),
    ],
)
def test_scores_without_objects_are_undefined(
    truth: list[int], prediction: list[int], expected: tuple[float | None, ...]
) -> None:
    found = score(np.array([truth]), np.array([prediction]))
    assert (
        found.precision, found.recall, found.f1, found.average_precision, found.panoptic_quality,
        found.aggregated_jaccard,
    ) == expected  # fmt: skip
    assert found.images_without_objects == (expected[2] is None)


@given(st.lists(draw_label_pairs(), max_size=4))
def test_pooled_scores_are_those_of_all_images_side_by_side(pairs: list[tuple[np.ndarray, np.ndarray]]) -> None:
    def place(which: int) -> np.ndarray:
        canvas = np.zeros((SIDE, SIDE * max(len(pairs), 1)), np.int32)
        for index, pair in enumerate(pairs):
            labels = pair[which]
            canvas[: labels.shape[0], index * SIDE : index * SIDE + labels.shape[1]] = np.where(
                labels > 0, labels + 10 * index, 0
            )
        return canvas

    matches: list[ObjectMatches] = [match_objects(*pair) for pair in pairs]
    pooled, together = score_objects(matches), score(place(0), place(1))
    for name in ("objects", "predicted", "matched", "merges", "splits", "missed", "false_objects", "by_threshold"):
        get: Callable[[ObjectScores], object] = lambda scores, name=name: getattr(scores, name)  # noqa: E731
        assert get(pooled) == get(together)
    assert pooled.panoptic_quality == together.panoptic_quality
    assert pooled.images == len(pairs)
