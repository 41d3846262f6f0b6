"""The IoU that a size allows: counts that hold for the mask that prepare writes, enlarged as predict does it."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.artifacts.prepared_data import SegmentationClass
from pipeline.imaging import IGNORE
from pipeline.imaging.resize import fit_mask, restore_mask
from pipeline.inference.preprocessing import Preprocessing
from pipeline.prepare.image_mask_pair import ImageMaskPair, PairCollection
from pipeline.prepare.size_ceilings import SizeCeilings, measure_size_ceilings
from tests.prepare.test_size_effects import CLASSES, ArrayMasks, masks, squares


def measure(arrays, size, resize="stretch", classes=CLASSES):
    pairs = [ImageMaskPair(str(index), f"images/{index}.png", str(index)) for index in range(len(arrays))]
    collection = PairCollection(Path(), "", "", classes, {pair.id: pair for pair in pairs}, ArrayMasks(arrays))
    return measure_size_ceilings(pairs, collection, size, resize)


def iou_by_hand(arrays, size, resize):
    """Pool intersections and unions over the masks, a pixel at a time."""
    same, either = np.zeros(3), np.zeros(3)
    for mask in arrays:
        square = fit_mask(mask, size, resize, outside=IGNORE)
        restored = restore_mask(square, mask.shape, resize)
        for index in range(3):
            truth, found = mask == index, (restored == index) & (mask != IGNORE)
            same[index] += (truth & found).sum()
            either[index] += (truth | found).sum()
    occurring = [index for index in range(3) if any((mask == index).any() for mask in arrays)]
    return {CLASSES[index].name: same[index] / either[index] for index in occurring}


@given(
    st.lists(masks(), min_size=1, max_size=3), st.sampled_from([16, 32, 48]), st.sampled_from(["stretch", "letterbox"])
)
def test_measure_ceilings_are_those_of_the_prepared_mask_resized_back(arrays, size, resize):
    found = measure(arrays, size, resize)
    for ceiling in found.sizes:
        assert ceiling.iou == pytest.approx(iou_by_hand(arrays, ceiling.size, resize))
    assert all(iou == 1 for iou in found.sizes[-1].iou.values()) if found.sizes else True
    assert found.masks == len(arrays)


@pytest.mark.parametrize("shape", [(80, 80), (50, 90), (90, 50)])
@pytest.mark.parametrize("resize", ["stretch", "letterbox"])
def test_restore_mask_covers_the_same_pixels_as_predict(shape, resize):
    mask = np.zeros(shape, np.uint8)
    mask[10:40, 15:45] = 1
    square = fit_mask(mask, 64, resize, outside=0)
    one_hot = np.stack([square == 0, square == 1]).astype(np.float32)
    strips = Preprocessing(64, resize, 3, 8).restore_probs(one_hot, shape)
    predicted = np.concatenate([strip.argmax(axis=0) for _, strip in strips])
    restored = restore_mask(square, shape, resize)
    assert ((predicted == 1) & (restored == 1)).sum() / ((predicted == 1) | (restored == 1)).sum() > 0.95


def test_measure_ceilings_pool_over_the_masks():
    small, large = squares(128, [(10, 10)], edge=3), squares(128, [(10, 10)], edge=90)
    (small_only, both) = (measure(arrays, 32).sizes[0].iou["cell"] for arrays in ([small], [small, large]))
    assert small_only < 0.7
    assert both > 0.95


def test_measure_ceilings_edges_do_not_count():
    classes = [*CLASSES[:2], SegmentationClass("dot", "#009e73", False, True)]
    mask = squares(128, [(10, 10)], edge=90)
    mask[10:100, 100] = 2
    found = measure([mask], 32, classes=classes)
    assert "dot" not in found.sizes[0].iou
    assert found.pixel_shares["dot"] == pytest.approx(90 / mask.size)


def test_measure_ceilings_shares_are_of_evaluated_pixels():
    mask = squares(64, [(0, 0)], edge=16)
    mask[32:] = IGNORE
    assert measure([mask], 32).pixel_shares == pytest.approx({"ground": 0.875, "cell": 0.125})


def test_measure_ceilings_sizes_end_where_nothing_is_lost():
    found = measure([squares(500, [(y, y) for y in range(0, 490, 9)], edge=3)], 96)
    assert [ceiling.size for ceiling in found.sizes][0 :: len(found.sizes) - 1] == [96, 512]
    assert found.sufficient.size <= 512
    assert found.at(700).lowest == 1
    assert f"data.image_size: {found.sufficient.size} gives" in found.sentence(96)


def test_measure_ceilings_that_no_size_reaches_ask_for_tiles():
    found = measure([squares(3000, [(y, y) for y in range(0, 2990, 11)], edge=2)], 128)
    assert found.sufficient is None
    assert "no image_size up to 1024 gives every class 0.9, smaller tiles" in found.sentence(256)


@pytest.mark.parametrize("arrays", [[], [None], [np.full((40, 40), IGNORE, np.uint8)]])
def test_measure_ceilings_without_classes_are_none(arrays):
    assert measure(arrays, 32) == SizeCeilings(sum(one is not None for one in arrays), (), {})
