"""Weights of classes: the formulas, the counted pixels, refusals and warnings."""

from __future__ import annotations

import logging
from typing import Any, Literal

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pipeline.artifacts.image_stack import ImageStack
from pipeline.artifacts.prepared_data import SegmentationClass, Split
from pipeline.data.class_weights import balance_classes, compute_class_weights
from pipeline.data.patch_loader import create_loader
from pipeline.errors import PipelineError
from pipeline.imaging import IGNORE
from pipeline.params.train import Train
from tests.data.test_patch_loader import make_settings, make_split

CLASSES = tuple(SegmentationClass(name, "#000000", name != "background") for name in ("background", "cell", "spot"))
Method = Literal["inverse", "median_frequency"]

methods = st.sampled_from(["inverse", "median_frequency"])
counts = hnp.arrays(np.float64, st.tuples(st.integers(1, 5), st.just(4)), elements=st.integers(0, 1000))


def make_whole_settings(**changes: Any) -> Train:
    return make_settings(patch_size=None, **changes)


def make_masks(*masks: list[list[int]]) -> Split:
    stacks = [np.array(mask, np.uint8) for mask in masks]
    images = [np.zeros((*mask.shape, 1), np.uint8) for mask in stacks]
    return Split(ImageStack.of(images), ImageStack.of(stacks), tuple(map(str, range(len(masks)))))


@given(counts)
def test_inverse_weights_give_all_classes_the_same_total(pixels: np.ndarray[Any, Any]) -> None:
    weights, totals = balance_classes(pixels, "inverse"), pixels.sum(axis=0)
    assert ((weights > 0) == (totals > 0)).all()
    occurs = totals > 0
    np.testing.assert_allclose((weights * totals)[occurs], totals.sum() / max(1, occurs.sum()))


def test_median_frequency_equals_the_value_by_hand() -> None:
    # Frequencies 150 / 300, 50 / 100 and 100 / 200, the latter two of the image in which the class occurs; and 0.
    pixels = np.array([[50.0, 50.0, 0.0, 0.0], [100.0, 0.0, 100.0, 0.0]])
    np.testing.assert_allclose(balance_classes(pixels, "median_frequency"), [1, 1, 1, 0])
    pixels = np.array([[90.0, 9.0, 1.0, 0.0], [100.0, 0.0, 0.0, 0.0]])
    np.testing.assert_allclose(balance_classes(pixels, "median_frequency"), [0.09 / 0.95, 1, 9, 0])


@given(counts, methods, st.permutations(range(4)))
def test_permuted_classes_have_permuted_weights(pixels: np.ndarray[Any, Any], method: Method, order: list[int]) -> None:
    np.testing.assert_allclose(balance_classes(pixels[:, order], method), balance_classes(pixels, method)[order])


@pytest.mark.parametrize("method", ["inverse", "median_frequency"])
def test_ignored_pixels_are_not_counted(method: Method) -> None:
    settings = make_whole_settings(class_weights=method)
    plain = make_masks([[0, 0, 0, 1]], [[0, 2, 2, 2]])
    ignored = [IGNORE] * 4
    more = make_masks([[0, 0, 0, 1], ignored], [ignored, [0, 2, 2, 2]], [ignored, ignored])
    assert compute_class_weights(settings, plain, CLASSES) == compute_class_weights(settings, more, CLASSES)


def test_absent_classes_have_no_weight_and_are_reported(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    weights = compute_class_weights(make_whole_settings(class_weights="inverse"), make_masks([[0, 0, 0, 1]]), CLASSES)
    assert weights == pytest.approx([2 / 3, 2, 0])
    assert "the training images have no pixels of some classes, whose weight is 0: spot" in caplog.text


def test_weights_by_name_are_in_the_order_of_the_classes() -> None:
    settings = make_whole_settings(class_weights={"spot": 9.0, "background": 0.5, "cell": 2.0})
    assert compute_class_weights(settings, make_masks([[0]]), CLASSES) == [0.5, 2.0, 9.0]
    assert compute_class_weights(make_whole_settings(), make_masks([[0]]), CLASSES) is None


def test_weights_of_other_classes_are_refused() -> None:
    settings = make_whole_settings(class_weights={"background": 0.5, "cel": 2.0, "boat": 2.0})
    with pytest.raises(PipelineError) as error:
        compute_class_weights(settings, make_masks([[0]]), CLASSES)
    assert str(error.value).splitlines() == [
        "train.class_weights: no weight for cell, spot; add it.",
        "train.class_weights: the data has no class 'cel'; did you mean cell?",
        "train.class_weights: the data has no class 'boat'; its classes: background, cell, spot.",
    ]


@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
def test_counted_patches_have_the_class_shares_that_training_sees(share: float) -> None:
    split = make_split([(120, 150), (90, 140)])
    loader = create_loader(split, torch.device("cpu"), make_settings(foreground_patches=share), CLASSES)
    counted = loader.count_pixels(3).sum(axis=0)
    masks = loader.take(loader.draw(3000, torch.Generator().manual_seed(5))).masks
    seen = torch.bincount(masks.ravel(), minlength=3).numpy()
    np.testing.assert_allclose(counted / counted.sum(), seen / seen.sum(), rtol=0.1)


def test_rare_class_outside_of_all_drawn_patches_has_a_weight() -> None:
    split = make_split([(400, 400)])
    split.masks.pixels[:] = 0
    split.masks[0][13, 17] = 1
    settings = make_settings(foreground_patches=0.0, class_weights="inverse")
    assert compute_class_weights(settings, split, CLASSES[:2]) == pytest.approx([160_000 / 2 / 159_999, 80_000])


def test_class_that_no_counted_patch_shows_has_a_weight() -> None:
    split = make_split([(400, 400)])
    split.masks.pixels[:] = 0
    split.masks[0][390, 390] = 2  # far from the foreground
    split.masks[0][13, 17] = 1
    settings = make_settings(foreground_patches=1.0, class_weights="inverse")
    classes = (*CLASSES[:2], SegmentationClass("far", "#000000", foreground=False))
    weights = compute_class_weights(settings, split, classes)
    assert weights is not None
    assert min(weights) > 0
