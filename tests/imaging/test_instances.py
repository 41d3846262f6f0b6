"""Classes of numbered objects: borders separate objects that touch."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import ndimage

from pipeline.imaging.instances import BACKGROUND, BORDER, INSIDE, classify_instances

DTYPES = (np.uint8, np.uint16, np.int32)
NEIGHBORS = np.ones((3, 3))  # including diagonal ones

WIDTHS = st.integers(1, 4)


@st.composite
def draw_label_masks(draw: st.DrawFn) -> np.ndarray:
    """Draw masks of objects that touch, contain each other, or extend beyond the edge."""
    ids = np.zeros(draw(st.tuples(st.integers(1, 24), st.integers(1, 24))), draw(st.sampled_from(DTYPES)))
    for number in draw(st.lists(st.sampled_from([0, 1, 2, 3, 7, 127, np.iinfo(ids.dtype).max]), max_size=9)):
        top, left = (draw(st.integers(-3, side)) for side in ids.shape)
        height, width = draw(st.integers(1, 15)), draw(st.integers(1, 15))
        ids[max(top, 0) : max(top + height, 0), max(left, 0) : max(left + width, 0)] = number
    return ids


def classify_by_definition(ids: np.ndarray, border: int) -> np.ndarray:
    """Apply the definition in the docstring pixel by pixel."""
    classes = np.zeros(ids.shape, np.uint8)
    for y, x in product(*map(range, ids.shape)):
        near = ids[max(y - border, 0) : y + border + 1, max(x - border, 0) : x + border + 1]
        own = ids[y, x]
        is_border = (near != own).any() if own else len(set(near[near > 0].tolist())) > 1
        classes[y, x] = BORDER if is_border else INSIDE if own else BACKGROUND
    return classes


@given(draw_label_masks(), WIDTHS)
def test_classify_instances_matches_its_definition(ids: np.ndarray, border: int) -> None:
    classes = classify_instances(ids, border)
    assert classes.dtype == np.uint8
    assert (classes == classify_by_definition(ids, border)).all()


@given(arrays.arrays(np.int32, st.tuples(st.integers(1, 12), st.integers(1, 12)), elements=st.integers(0, 3)), WIDTHS)
def test_classify_instances_of_noise_matches_its_definition(ids: np.ndarray, border: int) -> None:
    assert (classify_instances(ids, border) == classify_by_definition(ids, border)).all()


@given(draw_label_masks(), WIDTHS, st.randoms(use_true_random=False))
def test_classify_instances_ignores_the_order_of_the_numbers(ids: np.ndarray, border: int, random: object) -> None:
    names = np.unique(ids[ids > 0])
    others = names.copy()
    random.shuffle(others)  # type: ignore[attr-defined]
    renamed = np.zeros_like(ids)
    for name, other in zip(names, others, strict=True):
        renamed[ids == name] = other
    assert (classify_instances(renamed, border) == classify_instances(ids, border)).all()


@given(draw_label_masks(), WIDTHS)
def test_classify_instances_keeps_insides_apart(ids: np.ndarray, border: int) -> None:
    pieces, count = ndimage.label(classify_instances(ids, border) == INSIDE, NEIGHBORS)
    for piece in range(1, count + 1):
        assert len(set(ids[pieces == piece].tolist())) == 1


@given(draw_label_masks(), WIDTHS)
def test_classify_instances_makes_background_border_between_objects_only(ids: np.ndarray, border: int) -> None:
    classes = classify_instances(ids, border)
    assert (ids[classes == INSIDE] > 0).all()
    assert (ids[classes == BACKGROUND] == 0).all()
    names = np.unique(ids[ids > 0])
    dilated = [ndimage.binary_dilation(ids == name, NEIGHBORS, iterations=border) for name in names]
    between = np.sum(dilated, axis=0) > 1 if dilated else np.zeros(ids.shape, bool)
    assert ((classes == BORDER) & (ids == 0) == between & (ids == 0)).all()


@given(draw_label_masks())
def test_classify_instances_with_width_0_has_no_border(ids: np.ndarray) -> None:
    assert (classify_instances(ids, 0) == (ids > 0)).all()


@given(draw_label_masks(), WIDTHS)
def test_classify_instances_with_a_wider_border_contains_the_narrower_one(ids: np.ndarray, border: int) -> None:
    narrow, wide = classify_instances(ids, border) == BORDER, classify_instances(ids, border + 1) == BORDER
    assert (wide | ~narrow).all()


@given(draw_label_masks(), WIDTHS, st.integers(0, 3), st.booleans())
def test_classify_instances_is_equivariant_to_rotation_and_mirroring(
    ids: np.ndarray, border: int, num_turns: int, is_mirrored: bool
) -> None:
    def transform(array: np.ndarray) -> np.ndarray:
        return np.rot90(np.fliplr(array) if is_mirrored else array, num_turns)

    assert (classify_instances(transform(ids), border) == transform(classify_instances(ids, border))).all()


@pytest.mark.parametrize(("border", "inside"), [(1, 8 * 8), (2, 6 * 6), (4, 2 * 2), (5, 0), (64, 0)])
def test_classify_instances_has_borders_of_the_given_width(border: int, inside: int) -> None:
    ids = np.zeros((30, 30), np.int32)
    ids[10:20, 10:20] = 5
    assert (classify_instances(ids, border) == INSIDE).sum() == inside


def test_classify_instances_has_no_border_along_the_edge_of_the_image() -> None:
    ids = np.ones((20, 20), np.int32)
    assert (classify_instances(ids, 3) == INSIDE).all()
