"""The highest IoU that an image size allows: that of the prepared mask, resized back as by `predict`."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.artifacts.prepared_data import SegmentationClass
from pipeline.imaging import IGNORE
from pipeline.imaging.resize import FixedSize
from pipeline.inference.preprocessing import Preprocessing
from pipeline.prepare.image_mask_pair import ImageMaskPair, PairCollection
from pipeline.prepare.size_effects import SizeCeilings, measure_size_ceilings
from tests.prepare.test_size_effects import CLASSES, ArrayMasks, draw_squares, masks


def measure(arrays, size, resize="stretch", classes=CLASSES):
    pairs = [ImageMaskPair(str(index), f"images/{index}.png", str(index)) for index in range(len(arrays))]
    collection = PairCollection(Path(), "", "", classes, {pair.id: pair for pair in pairs}, ArrayMasks(arrays))
    size = size if isinstance(size, tuple) else (size, size)
    return measure_size_ceilings(pairs, collection, FixedSize(size, resize))


def compute_iou(arrays, size, resize):
    """Compute the IoU of each class from intersections and unions summed over the masks."""
    intersection, union = np.zeros(3), np.zeros(3)
    for mask in arrays:
        resizing = FixedSize(size, resize)
        restored = resizing.restore_mask(resizing.fit_mask(mask, outside=IGNORE), mask.shape)
        for index in range(3):
            ground_truth, predicted = mask == index, (restored == index) & (mask != IGNORE)
            intersection[index] += (ground_truth & predicted).sum()
            union[index] += (ground_truth | predicted).sum()
    present = [index for index in range(3) if any((mask == index).any() for mask in arrays)]
    return {CLASSES[index].name: intersection[index] / union[index] for index in present}


@given(
    st.lists(masks(), min_size=1, max_size=3),
    st.sampled_from([(16, 16), (32, 32), (48, 32)]),
    st.sampled_from(["stretch", "letterbox"]),
)
def test_size_ceilings_are_the_iou_of_the_prepared_mask_resized_back(arrays, size, resize):
    ceilings = measure(arrays, size, resize)
    for ceiling in ceilings.sizes:
        assert ceiling.iou == pytest.approx(compute_iou(arrays, ceiling.size, resize))
    assert all(iou == 1 for iou in ceilings.sizes[-1].iou.values()) if ceilings.sizes else True
    assert ceilings.masks == len(arrays)


@pytest.mark.parametrize("shape", [(80, 80), (50, 90), (90, 50)])
@pytest.mark.parametrize("resize", ["stretch", "letterbox"])
def test_restore_mask_covers_the_same_pixels_as_predict(shape, resize):
    mask = np.zeros(shape, np.uint8)
    mask[10:40, 15:45] = 1
    resizing = FixedSize((64, 72), resize)
    fitted = resizing.fit_mask(mask, outside=0)
    one_hot = np.stack([fitted == 0, fitted == 1]).astype(np.float32)
    strips = Preprocessing(resizing, 3, 8).restore_probs([one_hot], shape)
    predicted = np.concatenate([strip.argmax(axis=0) for strip in strips])
    restored = resizing.restore_mask(fitted, shape)
    assert ((predicted == 1) & (restored == 1)).sum() / ((predicted == 1) | (restored == 1)).sum() > 0.95


def test_size_ceilings_pool_pixels_over_masks():
    small, large = draw_squares(128, [(10, 10)], edge=3), draw_squares(128, [(10, 10)], edge=90)
    (small_only, both) = (measure(arrays, 32).sizes[0].iou["cell"] for arrays in ([small], [small, large]))
    assert small_only < 0.7
    assert both > 0.95


def test_size_ceilings_exclude_boundary_classes():
    classes = [*CLASSES[:2], SegmentationClass("dot", "#009e73", False, True)]
    mask = draw_squares(128, [(10, 10)], edge=90)
    mask[10:100, 100] = 2
    ceilings = measure([mask], 32, classes=classes)
    assert "dot" not in ceilings.sizes[0].iou
    assert ceilings.pixel_shares["dot"] == pytest.approx(90 / mask.size)


def test_pixel_shares_are_of_evaluated_pixels():
    mask = draw_squares(64, [(0, 0)], edge=16)
    mask[32:] = IGNORE
    assert measure([mask], 32).pixel_shares == pytest.approx({"ground": 0.875, "cell": 0.125})


def test_size_ceilings_end_at_the_size_of_the_masks():
    ceilings = measure([draw_squares(500, [(y, y) for y in range(0, 490, 9)], edge=3)], 96)
    assert [ceiling.size for ceiling in ceilings.sizes][0 :: len(ceilings.sizes) - 1] == [(96, 96), (512, 512)]
    assert ceilings.sufficient.size[0] <= 512
    assert ceilings.at((700, 700)).lowest == 1
    assert f"data.image_size: {ceilings.sufficient.size[0]} gives" in ceilings.sentence((96, 96))


def test_size_ceilings_that_no_size_reaches_suggest_tiles():
    ceilings = measure([draw_squares(3000, [(y, y) for y in range(0, 2990, 11)], edge=2)], 128)
    assert ceilings.sufficient is None
    assert "no image_size up to 1024 gives every class at least 0.9; image_size: native does" in ceilings.sentence(
        (256, 256)
    )


@pytest.mark.parametrize("arrays", [[], [None], [np.full((40, 40), IGNORE, np.uint8)]])
def test_size_ceilings_without_classes_are_empty(arrays):
    assert measure(arrays, 32) == SizeCeilings(sum(array is not None for array in arrays), (), {})
