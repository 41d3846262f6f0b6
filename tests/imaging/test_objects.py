"""Objects of class masks: connected regions with their boundary pixels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from pipeline.imaging import IGNORE
from pipeline.imaging.instances import BACKGROUND, BORDER, INSIDE, classify_instances
from pipeline.imaging.objects import MAX_REACH, grow_into_boundary, label_insides, label_objects, label_true_objects

SHAPES = st.tuples(st.integers(1, 14), st.integers(1, 14))
MASKS = arrays.arrays(np.uint8, SHAPES, elements=st.sampled_from([BACKGROUND, INSIDE, BORDER, IGNORE]))


def grow_by_definition(labels: np.ndarray, is_boundary: np.ndarray, reach: int) -> np.ndarray:
    """Search the shortest path from each object separately, one step at a time."""
    distance = np.full((labels.max() + 1, *labels.shape), np.inf)
    for number in range(1, labels.max() + 1):
        distance[number][labels == number] = 0
        for step in range(1, reach + 1):
            near = np.pad(distance[number] < step, 1)
            height, width = labels.shape
            around = np.any(
                [near[row : row + height, column : column + width] for row in range(3) for column in range(3)], axis=0
            )
            new = around & is_boundary & (labels == 0) & np.isinf(distance[number])
            distance[number][new] = step
    nearest = distance.argmin(axis=0)  # of equal distances, the first one
    return np.where(labels > 0, labels, np.where(np.isfinite(distance.min(axis=0)), nearest, 0))


@given(MASKS, st.integers(1, 12))
def test_boundary_pixels_belong_to_the_object_with_the_shortest_path(mask: np.ndarray, reach: int) -> None:
    labels, _ = label_insides(mask, [INSIDE])
    grown = grow_into_boundary(labels, mask == BORDER, reach)
    np.testing.assert_array_equal(grown, grow_by_definition(labels, mask == BORDER, reach))


@given(MASKS)
def test_objects_are_numbered_row_by_row_and_have_an_inside(mask: np.ndarray) -> None:
    found = label_objects(mask, [INSIDE], [BORDER])
    insides = found.labels[mask == INSIDE]
    assert (insides > 0).all()
    assert list(dict.fromkeys(insides.tolist())) == list(range(1, found.count + 1))
    assert not found.labels[(mask == BACKGROUND) | (mask == IGNORE)].any()
    assert set(found.labels[mask == BORDER].tolist()) <= {0, *insides.tolist()}


@pytest.mark.parametrize("border", [1, 2, 3])
def test_labels_of_touching_objects_are_restored_nearly_exactly(border: int) -> None:
    ids = np.zeros((40, 60), np.int32)
    ids[5:20, 5:20], ids[5:20, 20:40], ids[20:38, 8:30] = 1, 2, 3
    found = label_objects(classify_instances(ids, border), [INSIDE], [BORDER])
    assert found.count == 3
    # Objects differ only where three objects, or two objects and background, meet.
    assert (found.labels != ids).sum() <= 10 * border**2


def test_an_object_without_an_inside_is_lost() -> None:
    ids = np.zeros((20, 20), np.int32)
    ids[2:6, 2:6], ids[10:18, 10:18] = 1, 2
    assert label_objects(classify_instances(ids, 2), [INSIDE], [BORDER]).count == 1


def test_regions_of_different_classes_are_different_objects() -> None:
    mask = np.array([[0, 1, 2, 2], [0, 1, 2, 0]], np.uint8)
    found = label_objects(mask, [1, 2])
    assert found.labels.tolist() == [[0, 1, 2, 2], [0, 1, 2, 0]]
    assert found.classes.tolist() == [0, 1, 2]
    assert label_objects(mask, [2]).labels.tolist() == [[0, 0, 1, 1], [0, 0, 1, 0]]


def test_class_index_0_can_be_foreground() -> None:
    found = label_objects(np.array([[0, 1, 0]], np.uint8), [0])
    assert (found.labels.tolist(), found.classes.tolist()) == ([[1, 0, 2]], [0, 0, 0])


def test_objects_below_the_minimum_area_are_left_out() -> None:
    mask = np.array([[1, 0, 1, 1, 0, 1, 1, 1]], np.uint8)
    found = label_objects(mask, [1], min_area=2)
    assert found.labels.tolist() == [[0, 0, 1, 1, 0, 2, 2, 2]]
    assert found.classes.tolist() == [0, 1, 1]
    assert label_objects(mask, [1], min_area=1).count == label_objects(mask, [1]).count == 3


def test_boundary_pixels_beyond_the_reach_are_background() -> None:
    mask = np.full((1, MAX_REACH + 10), BORDER, np.uint8)
    mask[0, 0] = INSIDE
    assert (label_objects(mask, [INSIDE], [BORDER]).labels > 0).sum() == MAX_REACH + 1
    labels, _ = label_insides(mask, [INSIDE])
    assert (grow_into_boundary(labels, mask == BORDER, 3) > 0).sum() == 4


def test_pixels_that_are_not_kept_become_background() -> None:
    found = label_objects(np.array([[1, 1, 0, 1]], np.uint8), [1]).keep(np.array([[True, False, True, False]]))
    assert (found.labels.tolist(), found.count) == ([[1, 0, 0, 0]], 1)


def test_a_mask_without_objects_has_none() -> None:
    found = label_objects(np.full((3, 4), BORDER, np.uint8), [INSIDE], [BORDER], min_area=5)
    assert (found.count, found.classes.tolist()) == (0, [0])


def test_true_objects_have_the_classes_of_their_pixels() -> None:
    numbers = np.array([[1, 1, 0, 2, 2], [3, 3, 0, 4, 4]], np.uint16)
    mask = np.array([[1, 1, 0, 2, 2], [2, 2, 0, 1, 1]], np.uint8)  # objects 1 and 3 touch, as do 2 and 4
    found = label_true_objects(mask, numbers, [1, 2])
    np.testing.assert_array_equal(found.labels, numbers)
    assert found.classes[1:].tolist() == [1, 2, 2, 1]
    only = label_true_objects(mask, numbers, [2])
    np.testing.assert_array_equal(only.labels, np.where(mask == 2, numbers, 0))
    assert only.classes[[2, 3]].tolist() == [2, 2]


def test_true_objects_with_a_border_keep_all_their_pixels() -> None:
    ids = np.zeros((12, 20), np.uint16)
    ids[2:10, 2:10], ids[2:10, 10:12], ids[0, 0] = 1, 2, 3  # the last two have no inside
    found = label_true_objects(classify_instances(ids, 1), ids, [INSIDE], [BORDER])
    np.testing.assert_array_equal(found.labels, ids)
    assert found.classes[1:].tolist() == [INSIDE] * 3
