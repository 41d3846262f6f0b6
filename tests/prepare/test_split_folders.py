"""Folders named like splits: how they assign images to splits, and when they are refused."""

import re
from pathlib import PurePosixPath

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pipeline.artifacts.prepared_data import SHOWCASE, SPLITS, PreparedData
from pipeline.errors import PipelineError
from pipeline.prepare.image_mask_pair import SplitRow
from pipeline.prepare.splitting.assign_splits import apportion, assign_splits
from pipeline.prepare.splitting.read_splits import read_split_folders, strip_split_folders
from tests.prepare.conftest import MASK, create_image, create_section, read_samples, write_splits

FRACTIONS = {"validation": 0.25, "test": 0.25}


@pytest.fixture
def write(tmp_path):
    """Return a function that writes a number of pairs into each folder of images/ and masks/."""

    def write_pairs(folders):
        root = tmp_path / "cells"
        number = 0
        for folder, count in folders.items():
            for index in range(count):
                for kind, image in (("images", create_image(number)), ("masks", Image.fromarray(MASK))):
                    path = root / kind / folder / f"{index:02}.png"
                    path.parent.mkdir(parents=True, exist_ok=True)
                    image.save(path)
                number += 1
        return root

    return write_pairs


def count_by_split_and_folder(prepared):
    """Count the images of each split and folder, without the showcase."""
    pairs = [(row["split"], name.rpartition("__")[0]) for name, row in read_samples(prepared).items()]
    return {pair: pairs.count(pair) for pair in pairs if pair[0] != SHOWCASE}


@pytest.mark.parametrize(
    ("train", "validation", "test"),
    [
        ("train", "val", "test"),
        ("Training", "VALID", "Testing"),
        ("train_set", "eval", "holdout"),
        ("train2017", "val2017", "test-set"),
        ("training images", "evaluation", "hold-out"),
        ("a/train", "a/dev", "b/c/test"),
    ],
)
def test_folders_named_like_splits_are_the_splits(write, run, train, validation, test):
    prepared = run(write({train: 4, validation: 2, test: 3}), showcase_ids=None)
    expected = {("train", train): 3, ("validation", validation): 2, ("test", test): 3}
    assert count_by_split_and_folder(prepared) == {
        (split, name.replace("/", "__")): n for (split, name), n in expected.items()
    }


def test_val_folder_without_test_folder_is_split_into_validation_and_test(write, run):
    prepared = run(write({"train": 5, "val": 6}), showcase_ids=None, splits=FRACTIONS)
    assert count_by_split_and_folder(prepared) == {("train", "train"): 4, ("validation", "val"): 3, ("test", "val"): 3}


def test_train_folder_without_val_folder_is_split_into_train_and_validation(write, run):
    prepared = run(write({"train": 9, "test": 2}), showcase_ids=None, splits=FRACTIONS)
    assert count_by_split_and_folder(prepared) == {
        ("train", "train"): 6,
        ("validation", "train"): 2,
        ("test", "test"): 2,
    }


@pytest.mark.parametrize("other", ["", "unlabeled", "test/val"])
def test_images_outside_of_split_folders_are_refused(write, get_prepare_error, other):
    message = get_prepare_error(write({"train": 6, other: 2}), showcase_ids=None)
    outside = f"images/{other}/00.png" if other else "images/00.png"
    assert f"named like splits, but 2 of 8 images are not in exactly one split folder: {outside}" in message


def test_split_folders_without_training_are_refused(write, get_prepare_error):
    message = get_prepare_error(write({"test1": 3, "test2": 3}), showcase_ids=None)
    assert "data.path: images/test1, images/test2 are named like splits, but no folder is named train" in message


def test_error_in_split_folders_is_reported_with_invalid_files(write, get_prepare_error):
    folder = write({"train": 4, "": 2})
    (folder / "masks/train/00.png").write_bytes(b"not an image")
    create_image(99).save(folder / "images/train/no_mask.png")
    message = get_prepare_error(folder, showcase_ids=None)
    assert "1 image without a mask: images/train/no_mask.png" in message
    assert "1 file that cannot be used: masks/train/00.png" in message
    assert "2 of 6 images are not in exactly one split folder: images/00.png, images/01.png" in message


def test_single_train_folder_is_split_and_reported(write, run):
    prepared = run(write({"train": 24}), showcase_ids=None, splits={**FRACTIONS, "stratify": True})
    assert {split for split, _ in count_by_split_and_folder(prepared)} == set(SPLITS)
    notices = PreparedData(prepared).stats.notices
    assert sum("are split into training, validation and test" in notice for notice in notices) == 1


def test_list_without_splits_keeps_split_folders(write, run):
    folder = write({"train": 6, "val": 2, "test": 2})
    ids = [f"{split}/{index:02}" for split, count in (("train", 6), ("val", 2), ("test", 2)) for index in range(count)]
    write_splits(folder, [f"{name},,{name.replace('/', ' ')}" for name in ids], header="id,split,group")
    rows = read_samples(run(folder, showcase_ids=None))
    folder_by_split = {"train": "train", "validation": "val", "test": "test", SHOWCASE: "train"}
    assert all(name.startswith(folder_by_split[row["split"]]) for name, row in rows.items())
    assert {row["groups"] for row in rows.values()} == {f"group={name.replace('/', ' ')}" for name in ids}


def test_list_with_splits_replaces_split_folders(write, run):
    folder = write({"train": 2, "val": 2})
    write_splits(folder, ["train/00,test", "train/01,train", "val/00,train", "val/01,validation"])
    counts = count_by_split_and_folder(run(folder, showcase_ids=["val/00"]))
    assert counts == {("test", "train"): 1, ("train", "train"): 1, ("validation", "val"): 1}


def test_group_in_two_split_folders_is_refused(write, get_prepare_error):
    folder = write({"train": 4, "test": 4, "val": 4})
    splits = {**FRACTIONS, "group_regex": "([0-9]+)$"}
    assert re.search(
        r"the group '00' is in test and, with train__00, in train",
        get_prepare_error(folder, showcase_ids=None, splits=splits),
    )


def test_copy_in_another_split_folder_is_refused(write, get_prepare_error):
    folder = write({"train": 4, "val": 2, "test": 2})
    (folder / "images/train/03.png").write_bytes((folder / "images/test/01.png").read_bytes())
    message = get_prepare_error(folder, showcase_ids=["train/00"])
    assert "images/train/03.png (in train, like images/test/01.png in test)" in message


def test_stratified_val_folder_with_one_image_per_stratum_has_a_test_split(write, run):
    folder = write({"train": 4, "val": 4})
    for index in range(4):  # one class per image, so one stratum per image
        mask = np.full((16, 24), index % 3, np.uint8)
        Image.fromarray(mask).save(folder / f"masks/val/{index:02}.png")
    counts = count_by_split_and_folder(run(folder, showcase_ids=["train/00"], splits={**FRACTIONS, "stratify": True}))
    assert counts == {("train", "train"): 3, ("validation", "val"): 2, ("test", "val"): 2}


@pytest.mark.parametrize("seed", range(4))
def test_assign_splits_gives_two_unequal_groups_to_validation_and_test(seed):
    groups = {f"v{index}": "p" if index < 5 else "q" for index in range(6)}
    rows = {**{name: SplitRow("valtest") for name in groups}, "t0": SplitRow("train"), "t1": SplitRow("train")}
    assignment = assign_splits(sorted(rows), rows, groups, create_section("x", showcase_ids=["t0"], seed=seed), "")
    assert {len(assignment.ids["validation"]), len(assignment.ids["test"])} == {1, 5}


@given(st.lists(st.integers(0, 30), max_size=12), st.floats(0, 1))
def test_apportion_gives_the_exact_total_and_rounded_shares(sizes, share):
    counts = apportion(sizes, share)
    assert sum(counts) == round(share * sum(sizes))
    assert all(abs(count - share * size) < 1 + 1e-9 for count, size in zip(counts, sizes, strict=True))


FOLDERS = st.lists(st.sampled_from(["train", "val", "test", "a", "site1", "Test2"]), max_size=3)


@given(st.lists(FOLDERS, min_size=1, max_size=8))
def test_read_split_folders_never_gives_a_test_folder_to_training(folders):
    images = {f"i{n}": "/".join(["images", *parts, f"{n}.png"]) for n, parts in enumerate(folders)}
    try:
        rows = read_split_folders(images, "data.path")
    except PipelineError:
        return
    for name, path in images.items():
        parents = {part.lower() for part in PurePosixPath(path).parts}
        if parents & {"test", "test2"}:
            assert rows is not None
            assert rows[name] == SplitRow("test")


def test_strip_split_folders_keeps_other_folders():
    assert strip_split_folders("train/patient1/07") == "patient1/07"
    assert strip_split_folders("site1/val/test") == "site1/test"  # the last part is a file
