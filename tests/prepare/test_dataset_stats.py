"""Notices on masks, classes and leaks between splits."""

import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pipeline.artifacts.prepared_data import SHOWCASE, SPLITS, PreparedData, SegmentationClass
from pipeline.imaging import IGNORE
from pipeline.prepare.dataset_stats import describe_leaks, describe_masks
from pipeline.prepare.prepare_data import prepare
from pipeline.prepare.sample import Sample
from pipeline.prepare.split_tables import SplitTable
from pipeline.study.compose import compose, find_preset
from tests.conftest import ROOT
from tests.prepare.conftest import NAMES as CELL_NAMES

PETS = ROOT.parent / "shared/data/oxford-pets-mini"
NAMES = ("ground", "cell", "wall")
CLASSES = [SegmentationClass(name, "#0072b2", name != "ground", False) for name in NAMES]
ALL = (0, 1, 2)


def create_tables(masks):
    """Create the table of each split from masks, each given as the list of its values."""
    tables = {split: SplitTable(split, CLASSES) for split in (*SPLITS, SHOWCASE)}
    for split, split_masks in masks.items():
        for number, values in enumerate(split_masks):
            mask = np.array([values], np.uint8)
            tables[split].add(Sample(f"{split}{number}", {}, mask, mask, 1, 1, "", IGNORE in values))
    return tables


def describe(**masks):
    all_masks = {split: [ALL] * 4 for split in SPLITS} | {SHOWCASE: [ALL]} | masks
    return describe_masks(create_tables(all_masks), CLASSES)


def test_describe_masks_with_every_class_in_every_mask_has_no_notice():
    assert describe() == []


def test_describe_masks_without_masks_has_no_notice():
    assert describe(**{split: [] for split in (*SPLITS, SHOWCASE)}) == []
    assert describe(test=[]) == []
    assert describe(train=[]) == []


@pytest.mark.parametrize("split", SPLITS[1:])
def test_describe_masks_reports_a_class_missing_in_evaluation(split):
    (notice,) = describe(**{split: [(0, 1)] * 3})
    assert notice.startswith(f"class 'wall' occurs in none of the 3 masks of the split '{split}'")


def test_describe_masks_reports_a_class_missing_in_training():
    missing, unlearned = describe(train=[(0, 1)] * 4)
    assert "'wall'" in missing
    assert unlearned.startswith("class 'wall' occurs in validation or test, but in no training mask")
    *_, unlearned = describe(train=[(1,)] * 4, validation=[(1, 2)], test=[(0, 1)])
    assert unlearned.startswith("2 classes occur in validation or test, but in no training mask")
    assert "no training mask (ground, wall). " in unlearned


def test_describe_masks_reports_a_class_in_the_showcase_only_for_every_split():
    notices = describe(**{split: [(0, 1)] * 4 for split in SPLITS})
    assert [re.findall("the split '(.*)'", notice) for notice in notices[:3]] == [["train"], ["validation"], ["test"]]
    assert notices[3:] == ["Very few of the 13 masks contain wall (1): is it rare, or are the masks wrong?"]


def test_describe_masks_names_a_class_in_no_mask():
    assert "No mask contains wall." in describe(**{split: [(0, 1)] * 4 for split in (*SPLITS, SHOWCASE)})


@pytest.mark.parametrize(
    ("values", "message"),
    [((0,), "The showcase (showcase0) has no foreground"), ((IGNORE,), "All pixels of the showcase (showcase0)")],
)
def test_describe_masks_reports_a_showcase_without_scores(values, message):
    (notice,) = (notice for notice in describe(showcase=[values]) if "showcase" in notice)
    assert notice.startswith(message)
    assert not any("showcase" in notice for notice in describe(showcase=[values, ALL]))


def test_describe_masks_counts_images_without_evaluated_pixels():
    notices = describe(train=[ALL, (IGNORE, IGNORE), (IGNORE,)], test=[ALL, (IGNORE,)])
    assert notices == ["All pixels are ignored in 3 of 10 masks, so these images have no scores."]


def test_describe_masks_reports_ignored_pixels_instead_of_foreground():
    (notice,) = describe(train=[ALL, (0, IGNORE), (0, IGNORE)])
    assert notice.startswith("2 masks contain ignored pixels but no foreground, and no mask contains both")
    assert describe(train=[ALL, (0, IGNORE), (0, 1, 2, IGNORE)]) == []


MASKS = st.lists(st.lists(st.sampled_from([0, 1, 2, IGNORE]), min_size=1, max_size=4), min_size=1, max_size=4)


@given(st.fixed_dictionaries(dict.fromkeys((*SPLITS, SHOWCASE), MASKS)))
def test_describe_masks_names_each_missing_class_of_each_split(masks):
    """A class is named as missing in a split if and only if no mask of the split contains it."""
    notices = describe_masks(create_tables(masks), CLASSES)
    for split in SPLITS:
        missing = {name for index, name in enumerate(NAMES) if not any(index in mask for mask in masks[split])}
        split_notices = " ".join(notice for notice in notices if f"the split '{split}'" in notice)
        assert {name for name in NAMES if name in split_notices} == missing
    unlearned = " ".join(notice for notice in notices if "in no training mask" in notice)
    in_training = {value for mask in masks["train"] for value in mask}
    elsewhere = {value for split in SPLITS[1:] for mask in masks[split] for value in mask}
    expected = {NAMES[index] for index in elsewhere - in_training - {IGNORE}}
    assert {name for name in NAMES if name in unlearned} == expected


@pytest.mark.parametrize(("bits", "is_dark"), [(12, True), (15, False)])
def test_prepare_reports_images_that_use_few_of_16_bits(cells, run, bits, is_dark):
    for index, name in enumerate(CELL_NAMES):
        values = np.random.default_rng(index).integers(0, 1 << bits, (16, 24), np.uint16)
        Image.fromarray(values).save(cells / "images" / f"{name}.png")
    notices = PreparedData(run(cells)).stats.notices
    assert any("the images look nearly black to a network" in notice for notice in notices) is is_dark


def test_leak_notice_counts_the_images_of_each_split() -> None:
    removed = Counter({("train", "test"): 9, ("train", "validation"): 5, ("validation", "test"): 1})
    (notice,) = describe_leaks(removed, is_published=False)
    assert notice.startswith(
        "14 images were left out of train, because validation or test contains the same image; 1 image was left out of "
        "validation, because test contains the same image: a leak between the splits of the data set."
    )


def test_leak_notice_names_the_showcase() -> None:
    (notice,) = describe_leaks(Counter({("train", SHOWCASE): 1}), is_published=True)
    assert "train, because the showcase contains" in notice
    assert not list(describe_leaks(Counter(), is_published=True))


@pytest.mark.skipif(not PETS.is_dir(), reason="oxford-pets-mini is not next to the repository")
@pytest.mark.parametrize("name", ["exercise_mini", "oxford_pets_mini", "recipe", "recipe_parts"])
def test_pets_presets_report_the_leak_of_the_data_set(name: str, tmp_path: Path) -> None:
    params = compose(find_preset(name, ROOT), ROOT, PETS).params
    data = params.data.model_copy(update={"path": str(PETS), "image_size": 32})
    prepare(params.model_copy(update={"data": data}), tmp_path / "prepared")
    notices = PreparedData(tmp_path / "prepared").stats.notices
    assert [notice.partition(":")[0] for notice in notices if "left out" in notice] == [
        "1 image was left out of train, because test contains the same image"
    ]
