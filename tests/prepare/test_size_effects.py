"""Objects that are lost at the prepared image size, counted for each class."""

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
from pipeline.imaging.resize import FixedSize, NativeSize
from pipeline.prepare import size_effects
from pipeline.prepare.image_mask_pair import ImageMaskPair, PairCollection
from pipeline.prepare.size_effects import ClassEffect, SizeEffects, measure_size_effects
from tests.prepare.conftest import create_image, read_samples, write_splits

CLASSES = [
    SegmentationClass("ground", "#0072b2", False, False),
    SegmentationClass("cell", "#e69f00", True, False),
    SegmentationClass("dot", "#009e73", True, False),
]


@dataclass
class ArrayMasks:
    """A mask reader over arrays; None cannot be decoded."""

    arrays: list

    def read(self, _folder, mask):
        return mask.encode()

    def decode(self, content):
        mask = self.arrays[int(content)]
        if mask is None:
            raise ImageError("broken")
        return mask


def measure(masks, size, resize="stretch"):
    """Measure the effects of a height and width, of a square, or of a factor by which native images are shrunk."""
    sides = size if isinstance(size, tuple) else (size, size)
    resizing = NativeSize(size) if isinstance(size, float) else FixedSize(sides, resize)
    pairs = [ImageMaskPair(str(index), f"images/{index}.png", str(index)) for index in range(len(masks))]
    collection = PairCollection(Path(), "", "", CLASSES, {pair.id: pair for pair in pairs}, ArrayMasks(masks))
    return measure_size_effects(pairs, collection, resizing)


def draw_squares(side, corners, edge=4, value=1):
    mask = np.zeros((side, side), np.uint8)
    for y, x in corners:
        mask[y : y + edge, x : x + edge] = value
    return mask


def count_objects(masks, size, resize):
    """Count the objects and the kept objects of each class, resizing each object separately."""
    counts = {}
    for mask in masks:
        for index in (1, 2):
            labels, num_objects = ndimage.label(mask == index, np.ones((3, 3)))
            objects, kept = counts.get(CLASSES[index].name, (0, 0))
            for label in range(1, num_objects + 1):
                resized = FixedSize(size, resize).fit_mask((labels == label).astype(np.uint8), outside=IGNORE)
                kept += bool((resized == 1).any())
            counts[CLASSES[index].name] = (objects + num_objects, kept)
    return {name: count for name, count in counts.items() if count[0]}


@st.composite
def masks(draw):
    height, width = draw(st.integers(1, 40)), draw(st.integers(1, 40))
    random = np.random.default_rng(draw(st.integers(0, 999)))
    values = random.choice([0, 1, 2, IGNORE], (height, width), p=[0.9, 0.05, 0.04, 0.01])
    return values.astype(np.uint8)


@given(
    st.lists(masks(), max_size=2),
    st.sampled_from([(16, 16), (32, 32), (48, 32)]),
    st.sampled_from(["stretch", "letterbox"]),
)
def test_size_effects_count_objects_with_a_pixel_in_the_prepared_mask(arrays, size, resize):
    effects = measure(arrays, size, resize)
    assert {effect.name: (effect.objects, effect.kept) for effect in effects.classes} == count_objects(
        arrays, size, resize
    )
    assert effects.masks == len(arrays)


@given(masks())
def test_size_effects_of_masks_that_are_not_reduced_are_lossless(mask):
    effects = measure([mask], 64)
    assert all(effect.kept == effect.objects for effect in effects.classes)


def test_size_effects_area_is_the_ratio_of_pixel_fractions():
    mask = np.zeros((64, 64), np.uint8)
    mask[:, :2] = 1  # at 32 px, one of two columns is sampled
    assert measure([mask], 32).classes == (ClassEffect("cell", 1, 1, 1.0),)
    mask[:, 1] = 0
    (effects,) = measure([mask], 32).classes
    assert (effects.kept, effects.area) in {(1, 2.0), (0, 0.0)}  # the column may be sampled or not
    assert effects.is_lossy


def test_size_effects_suggest_the_smallest_sufficient_size():
    corners = [(y, x) for y in range(0, 500, 20) for x in range(0, 500, 20)]
    mask = draw_squares(512, corners)
    effects = measure([mask], 96)
    assert effects.is_lossy
    smaller = [size for size in size_effects.SIZES if 96 <= size < effects.sufficient[0]]
    assert all(measure([mask], size).is_lossy for size in smaller)
    assert not measure([mask], effects.sufficient).is_lossy
    assert effects.sentence().endswith(f"data.image_size: {effects.sufficient[0]} keeps them.")


def test_size_effects_suggest_the_largest_sufficient_downscale():
    mask = draw_squares(512, [(y, x) for y in range(3, 500, 20) for x in range(3, 500, 20)])
    effects = measure([mask], 16.0)
    assert effects.is_lossy
    assert effects.sentence().startswith("At a downscale of 16, cell keeps ")
    assert effects.sentence().endswith(f"data.downscale: {effects.sufficient:g} keeps them.")
    larger = [factor for factor in size_effects.FACTORS if effects.sufficient < factor <= 16]
    assert all(measure([mask], factor).is_lossy for factor in larger)
    assert not measure([mask], effects.sufficient).is_lossy
    assert not measure([mask], 1.0).is_lossy


def test_size_effects_keep_the_proportions_of_the_size():
    mask = draw_squares(512, [(y, x) for y in range(0, 500, 20) for x in range(0, 500, 20)])
    effects = measure([mask], (64, 128), "letterbox")
    height, width = effects.sufficient
    assert abs(width - 2 * height) <= size_effects.MULTIPLE  # both are multiples of it
    assert effects.sentence().startswith("At 128 × 64 px, cell keeps ")
    assert effects.sentence().endswith(f"data.image_size: [{height}, {width}] keeps them.")


def test_size_effects_report_small_objects_of_one_class():
    mask = draw_squares(512, [(100, 100)], edge=300)
    mask[::32, ::32] = np.where(mask[::32, ::32] == 0, 2, mask[::32, ::32])
    effects = measure([mask], 64)
    assert [effect.name for effect in effects.classes if effect.is_lossy] == ["dot"]
    assert "cell" not in effects.sentence()


def test_size_effects_without_a_sufficient_size_suggest_none(monkeypatch):
    monkeypatch.setattr(size_effects, "SIZES", (32, 64))
    effects = measure([draw_squares(640, [(y, x) for y in range(3, 600, 20) for x in range(3, 600, 20)], edge=1)], 32)
    assert effects.sufficient is None
    assert "no image_size up to 64 keeps them" in effects.sentence()


@pytest.mark.parametrize("mask", [np.zeros((40, 40), np.uint8), np.full((40, 40), IGNORE, np.uint8), None])
def test_size_effects_without_objects_are_not_lossy(mask):
    effects = measure([mask], 32)
    assert effects == SizeEffects((32, 32), int(mask is not None), (), None)
    assert not effects.is_lossy
    assert measure([], 32) == SizeEffects((32, 32), 0, (), None)


def test_size_effects_stop_at_the_pixel_limit(monkeypatch):
    decoded = []

    class CountingMasks(ArrayMasks):
        def decode(self, content):
            decoded.append(int(content))
            return super().decode(content)

    monkeypatch.setattr(size_effects, "MAX_PIXELS", 4 * 64 * 64)
    pairs = [ImageMaskPair(str(index), "", str(index)) for index in range(40)]
    collection = PairCollection(Path(), "", "", CLASSES, {}, CountingMasks([draw_squares(64, [(3, 3)])] * 40))
    effects = measure_size_effects(pairs, collection, FixedSize((32, 32), "stretch"))
    assert (effects.masks, effects.classes[0].objects) == (4, 4)
    assert len({index // 10 for index in decoded[:4]}) >= 3  # spread over all masks


def test_size_effects_examine_one_mask_above_the_pixel_limit(monkeypatch):
    monkeypatch.setattr(size_effects, "MAX_PIXELS", 10)
    assert measure([draw_squares(64, [(3, 3)])] * 3, 32).masks == 1


def test_prepare_reports_objects_that_its_masks_lose(tmp_path, run):
    folder = tmp_path / "cells"
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True)
    kept = 0
    for index in range(9):
        corners = [(y + index % 4, x + (x // 16) % 4) for y in range(0, 120, 16) for x in range(0, 120, 16)]
        mask = draw_squares(128, corners, edge=2)
        create_image(index, mask.shape).save(folder / f"images/{index}.png")
        Image.fromarray(mask).save(folder / f"masks/{index}.png")
    write_splits(folder, [f"{index},{SPLITS[index % 3]}" for index in range(9)])
    prepared = run(folder, showcase_ids=["0"], image_size=32)
    for split in SPLITS:
        for mask in np.load(prepared / split / PreparedData.MASKS):
            kept += ndimage.label(mask == 0, np.ones((3, 3)))[1]  # index 0 is the class cell
    notice, iou_notice = (notice for notice in PreparedData(prepared).stats.notices if "px" in notice)
    assert "At 32 × 32 px, even perfect predictions" in iou_notice
    assert len(read_samples(prepared)) == 9
    assert f"At 32 × 32 px, cell keeps {kept} of {8 * 64} objects" in notice


def test_prepare_refuses_a_size_at_which_all_objects_vanish(cells, get_prepare_error):
    for path in (cells / "masks").iterdir():
        mask = np.zeros((320, 320), np.uint8)
        mask[:40:10, :40:10] = 1
        Image.fromarray(mask).save(path)
        create_image(int(path.stem[4:]), mask.shape).save(cells / "images" / path.name)
    message = get_prepare_error(cells, image_size=32)
    assert "training needs two classes" in message
    assert "Pixels are counted at 32 × 32 px; if objects vanish at that size, increase data.image_size." in message
