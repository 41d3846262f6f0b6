"""Stratified splits: properties that hold for any classes and groups."""

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pipeline.artifacts.prepared_data import SPLITS, PreparedData
from pipeline.prepare.image_mask_pair import SplitRow
from pipeline.prepare.splitting.assign_splits import assign_splits, stratify
from tests.prepare.conftest import MASK, NAMES, create_image, create_section, read_samples

NAME = st.text("abcxyz0123", min_size=1, max_size=5)
IMAGES = st.dictionaries(NAME, st.tuples(st.frozensets(st.integers(0, 3)), st.sampled_from(["", "p", "q", "r"])))


def assign(images, listed="", showcase_ids=(), **changes):
    """Assign stratified splits and return the split of each image."""
    groups = {name: group for name, (_, group) in images.items() if group}
    presence = {name: classes for name, (classes, _) in images.items()}
    data = create_section("x", showcase_ids=list(showcase_ids), **changes)
    assignment = assign_splits(sorted(images), {name: SplitRow(listed) for name in images}, groups, data, "", presence)
    pairs = [(name, split) for split, names in assignment.ids.items() for name in names]
    pairs += [(name, "excluded") for name, _ in assignment.excluded]
    assert sorted(name for name, _ in pairs) == sorted(images)  # each exactly once
    return dict(pairs)


@given(IMAGES, st.integers(0, 9), st.floats(0, 0.49), st.floats(0, 0.49))
def test_stratified_splits_are_complete_and_keep_groups(images, seed, validation, test):
    for listed in ("", "trainval"):
        assigned = assign(images, listed, seed=seed, splits={"validation": validation, "test": test})
        for group in "pqr":
            assert len({assigned[name] for name, (_, name_group) in images.items() if name_group == group}) <= 1


@given(IMAGES, st.integers(0, 9))
def test_stratum_of_three_groups_is_in_every_split(images, seed):
    assigned = assign(images, seed=seed, splits={"validation": 0.15, "test": 0.15})
    groups = {name: group for name, (_, group) in images.items() if group}
    for stratum in stratify(sorted(images), groups, {name: classes for name, (classes, _) in images.items()}):
        if len({groups.get(name, f"/{name}") for name in stratum}) >= 3:
            assert {assigned[name] for name in stratum} == set(SPLITS)


@given(st.sets(NAME, min_size=10, max_size=60), NAME, st.integers(0, 9))
def test_added_image_moves_at_most_two_others(names, added, seed):
    changes = {"seed": seed, "splits": {"validation": 0.2, "test": 0.3}}
    before = assign({name: (frozenset({0, 1}), "") for name in names}, **changes)
    after = assign({name: (frozenset({0, 1}), "") for name in {*names, added}}, **changes)
    assert sum(before[name] != after[name] for name in names) <= 2
    counts = Counter(before.values())
    assert (counts["validation"], counts["test"]) == (round(0.2 * len(names)), round(0.3 * len(names)))


def test_rare_class_is_in_every_split_of_a_folder(cells, run):
    (cells / "splits.csv").unlink()
    for index in range(12, 60):
        create_image(index).save(cells / f"images/cell{index}.png")
    for index in range(60):  # the class wall is in five of sixty masks
        mask = MASK if index % 12 == 3 else MASK % 2
        Image.fromarray(mask).save(cells / f"masks/cell{index}.png")
    prepared = run(cells, showcase_ids=["cell0"], splits={"validation": 0.15, "test": 0.15, "stratify": True})
    for split in SPLITS:
        assert 2 in np.load(prepared / split / PreparedData.MASKS)


def test_group_regex_finds_groups_in_folder_names(cells, run, get_prepare_error):
    (cells / "splits.csv").unlink()
    for kind in ("images", "masks"):
        for index, name in enumerate(NAMES):
            (cells / kind / f"day{index % 6}").mkdir(exist_ok=True)
            (cells / kind / f"{name}.png").rename(cells / kind / f"day{index % 6}" / f"{name}.png")
    splits = {"validation": 0.3, "test": 0.3, "group_regex": "^(day[0-9])/"}
    message = get_prepare_error(cells, showcase_ids=["day0/cell0"], splits={**splits, "group_regex": "^(day[1-9])/"})
    assert "data.splits.group_regex finds no group: images/day0/cell0.png, images/day0/cell6.png. Correct" in message
    rows = read_samples(run(cells, seed=2, showcase_ids=["day0/cell0"], splits=splits))
    assert {name: row["groups"] for name, row in rows.items()} == {
        name: f"group={name.partition('__')[0]}" for name in rows
    }
    assert "day0__cell6" not in rows  # in the showcase's group
