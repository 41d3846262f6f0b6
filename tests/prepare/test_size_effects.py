"""What the prepared size does to the objects of each class: counts that hold for the arrays that prepare writes."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scipy import ndimage

from pipeline.artifacts.prepared_data import SPLITS, PreparedData, SegmentationClass
from pipeline.imaging import IGNORE
from pipeline.imaging.errors import ImageError
from pipeline.imaging.resize import fit_mask
from pipeline.prepare import size_effects
from pipeline.prepare.image_mask_pair import ImageMaskPair, PairCollection
from pipeline.prepare.size_effects import ClassEffect, SizeEffects, measure_size_effects
from tests.prepare.conftest import picture, table, write_splits

CLASSES = [
    SegmentationClass("ground", "#0072b2", False, False),
    SegmentationClass("cell", "#e69f00", True, False),
    SegmentationClass("dot", "#009e73", True, False),
]


@dataclass
class ArrayMasks:
    """Masks that are kept as arrays; None cannot be decoded."""

    arrays: list

    def read(self, _folder, mask):
        return mask.encode()

    def decode(self, content):
        mask = self.arrays[int(content)]
        if mask is None:
            raise ImageError("broken")
        return mask


def measure(masks, size, resize="stretch"):
    pairs = [ImageMaskPair(str(index), f"images/{index}.png", str(index)) for index in range(len(masks))]
    collection = PairCollection(Path(), "", "", CLASSES, {pair.id: pair for pair in pairs}, ArrayMasks(masks))
    return measure_size_effects(pairs, collection, size, resize)


def squares(side, where, edge=4, value=1):
    mask = np.zeros((side, side), np.uint8)
    for y, x in where:
        mask[y : y + edge, x : x + edge] = value
    return mask


def count_by_hand(masks, size, resize):
    """Count objects and kept ones of each class, from the array that prepare writes and one object at a time."""
    found = {}
    for mask in masks:
        for index in (1, 2):
            labels, number = ndimage.label(mask == index, np.ones((3, 3)))
            objects, kept = found.get(CLASSES[index].name, (0, 0))
            for one in range(1, number + 1):
                alone = fit_mask((labels == one).astype(np.uint8), size, resize, outside=IGNORE)
                kept += bool((alone == 1).any())
            found[CLASSES[index].name] = (objects + number, kept)
    return {name: counts for name, counts in found.items() if counts[0]}


@st.composite
def masks(draw):
    height, width = draw(st.integers(1, 40)), draw(st.integers(1, 40))
    random = np.random.default_rng(draw(st.integers(0, 999)))
    values = random.choice([0, 1, 2, IGNORE], (height, width), p=[0.9, 0.05, 0.04, 0.01])
    return values.astype(np.uint8)


@given(st.lists(masks(), max_size=2), st.sampled_from([16, 32, 48]), st.sampled_from(["stretch", "letterbox"]))
def test_measure_counts_the_objects_that_have_a_pixel_in_the_prepared_mask(arrays, size, resize):
    found = measure(arrays, size, resize)
    assert {one.name: (one.objects, one.kept) for one in found.classes} == count_by_hand(arrays, size, resize)
    assert found.masks == len(arrays)


@given(masks())
def test_measure_masks_that_are_not_reduced_lose_nothing(mask):
    found = measure([mask], 64)
    assert all(one.kept == one.objects for one in found.classes)


def test_measure_area_is_the_share_of_pixels_after_by_before():
    mask = np.zeros((64, 64), np.uint8)
    mask[:, :2] = 1  # at 32 px, one of two columns is taken
    assert measure([mask], 32).classes == (ClassEffect("cell", 1, 1, 1.0),)
    mask[:, 1] = 0
    (found,) = measure([mask], 32).classes
    assert (found.kept, found.area) in {(1, 2.0), (0, 0.0)}  # the column is sampled, or not
    assert found.is_lossy


def test_measure_proposes_the_smallest_size_that_keeps_the_objects():
    where = [(y, x) for y in range(0, 500, 20) for x in range(0, 500, 20)]
    mask = squares(512, where)
    found = measure([mask], 96)
    assert found.is_lossy
    smaller = [size for size in size_effects.SIZES if 96 <= size < found.sufficient]
    assert all(measure([mask], size).is_lossy for size in smaller)
    assert not measure([mask], found.sufficient).is_lossy
    assert found.sentence().endswith(f"data.image_size: {found.sufficient} keeps them.")


def test_measure_small_objects_of_one_class_are_not_hidden_by_another():
    mask = squares(512, [(100, 100)], edge=300)
    mask[::32, ::32] = np.where(mask[::32, ::32] == 0, 2, mask[::32, ::32])
    found = measure([mask], 64)
    assert [one.name for one in found.classes if one.is_lossy] == ["dot"]
    assert "cell" not in found.sentence()


def test_measure_objects_that_no_size_keeps_names_no_size(monkeypatch):
    monkeypatch.setattr(size_effects, "SIZES", (32, 64))
    found = measure([squares(640, [(y, x) for y in range(3, 600, 20) for x in range(3, 600, 20)], edge=1)], 32)
    assert found.sufficient is None
    assert "no image_size up to 64 keeps them" in found.sentence()


@pytest.mark.parametrize("mask", [np.zeros((40, 40), np.uint8), np.full((40, 40), IGNORE, np.uint8), None])
def test_measure_without_objects_is_not_lossy(mask):
    found = measure([mask], 32)
    assert found == SizeEffects(32, int(mask is not None), (), None)
    assert not found.is_lossy
    assert measure([], 32) == SizeEffects(32, 0, (), None)


def test_measure_large_masks_stops_at_the_limit_of_pixels(monkeypatch):
    decoded = []

    class Counted(ArrayMasks):
        def decode(self, content):
            decoded.append(int(content))
            return super().decode(content)

    monkeypatch.setattr(size_effects, "MAX_PIXELS", 4 * 64 * 64)
    pairs = [ImageMaskPair(str(index), "", str(index)) for index in range(40)]
    collection = PairCollection(Path(), "", "", CLASSES, {}, Counted([squares(64, [(3, 3)])] * 40))
    found = measure_size_effects(pairs, collection, 32, "stretch")
    assert (found.masks, found.classes[0].objects) == (4, 4)
    assert len({place // 10 for place in decoded[:4]}) >= 3  # spread over all, in whatever order folders are


def test_measure_one_mask_above_the_limit_of_pixels_is_examined(monkeypatch):
    monkeypatch.setattr(size_effects, "MAX_PIXELS", 10)
    assert measure([squares(64, [(3, 3)])] * 3, 32).masks == 1


def test_prepare_reports_the_objects_that_its_masks_lose(tmp_path, run):
    folder = tmp_path / "cells"
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True)
    kept = 0
    for index in range(9):
        where = [(y + index % 4, x + (x // 16) % 4) for y in range(0, 120, 16) for x in range(0, 120, 16)]
        mask = squares(128, where, edge=2)
        picture(index, mask.shape).save(folder / f"images/{index}.png")
        Image.fromarray(mask).save(folder / f"masks/{index}.png")
    write_splits(folder, [f"{index},{SPLITS[index % 3]}" for index in range(9)])
    prepared = run(folder, showcase_ids=["0"], image_size=32)
    for split in SPLITS:
        for mask in np.load(prepared / split / PreparedData.MASKS):
            kept += ndimage.label(mask == 0, np.ones((3, 3)))[1]  # the cells come first in the section
    notice, of_iou = (notice for notice in PreparedData(prepared).stats.notices if "px" in notice)
    assert "At 32 px even perfect predictions" in of_iou
    assert len(table(prepared)) == 9
    assert f"At 32 px cell keeps {kept} of {8 * 64} objects" in notice


def test_prepare_objects_that_vanish_in_all_of_training_are_refused_with_the_size(cells, refused):
    for path in (cells / "masks").iterdir():
        mask = np.zeros((320, 320), np.uint8)
        mask[:40:10, :40:10] = 1
        Image.fromarray(mask).save(path)
        picture(int(path.stem[4:]), mask.shape).save(cells / "images" / path.name)
    said = refused(cells, image_size=32)
    assert "training needs two classes" in said
    assert "Masks are counted at 32 px: objects that vanish at that size need a larger data.image_size." in said
