"""Splits that every class comes to, as far as there are images: the laws that hold for any classes and groups."""

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pipeline.artifacts.prepared_data import SPLITS, PreparedData
from pipeline.prepare.image_mask_pair import SplitRow
from pipeline.prepare.splitting.assign_splits import assign_splits, stratify
from tests.prepare.conftest import NAMES, WHOLE, picture, section, table

NAMED = st.text("abcxyz0123", min_size=1, max_size=5)
IMAGES = st.dictionaries(NAMED, st.tuples(st.frozensets(st.integers(0, 3)), st.sampled_from(["", "p", "q", "r"])))


def places(images, written="", shown=(), **changes):
    """Split of each image, by a division that is to be stratified."""
    groups = {name: group for name, (_, group) in images.items() if group}
    presence = {name: found for name, (found, _) in images.items()}
    data = section("x", showcase_ids=list(shown), **changes)
    found = assign_splits(sorted(images), {name: SplitRow(written) for name in images}, groups, data, "", presence)
    given = [(name, split) for split, names in found.ids.items() for name in names]
    given += [(name, "left out") for name, _ in found.excluded]
    assert sorted(name for name, _ in given) == sorted(images)  # each exactly once
    return dict(given)


@given(IMAGES, st.integers(0, 9), st.floats(0, 0.49), st.floats(0, 0.49))
def test_they_are_complete_and_keep_groups_whole(images, seed, validation, test):
    for written in ("", "trainval"):
        found = places(images, written, seed=seed, splits={"validation": validation, "test": test})
        for group in "pqr":
            assert len({found[name] for name, (_, its) in images.items() if its == group}) <= 1


@given(IMAGES, st.integers(0, 9))
def test_a_class_that_three_groups_are_rarest_in_comes_to_every_split(images, seed):
    found = places(images, seed=seed, splits={"validation": 0.15, "test": 0.15})
    groups = {name: group for name, (_, group) in images.items() if group}
    for stratum in stratify(sorted(images), groups, {name: classes for name, (classes, _) in images.items()}):
        if len({groups.get(name, f"/{name}") for name in stratum}) >= 3:
            assert {found[name] for name in stratum} == set(SPLITS)


@given(st.sets(NAMED, min_size=10, max_size=60), NAMED, st.integers(0, 9))
def test_an_image_that_is_added_moves_at_most_one_at_each_border(names, added, seed):
    asked = {"seed": seed, "splits": {"validation": 0.2, "test": 0.3}}
    before = places({name: (frozenset({0, 1}), "") for name in names}, **asked)
    after = places({name: (frozenset({0, 1}), "") for name in {*names, added}}, **asked)
    assert sum(before[name] != after[name] for name in names) <= 2
    counts = Counter(before.values())
    assert (counts["validation"], counts["test"]) == (round(0.2 * len(names)), round(0.3 * len(names)))


def test_a_rare_class_comes_to_every_split_of_a_folder(cells, run):
    (cells / "splits.csv").unlink()
    for index in range(12, 60):
        picture(index).save(cells / f"images/cell{index}.png")
    for index in range(60):  # the wall is in five of sixty
        mask = WHOLE if index % 12 == 3 else WHOLE % 2
        Image.fromarray(mask).save(cells / f"masks/cell{index}.png")
    prepared = run(cells, showcase_ids=["cell0"], splits={"validation": 0.15, "test": 0.15, "stratify": True})
    for split in SPLITS:
        assert 2 in np.load(prepared / split / PreparedData.MASKS)


def test_a_pattern_finds_groups_in_names_and_in_folders(cells, run, refused):
    (cells / "splits.csv").unlink()
    for kind in ("images", "masks"):
        for index, name in enumerate(NAMES):
            (cells / kind / f"day{index % 6}").mkdir(exist_ok=True)
            (cells / kind / f"{name}.png").rename(cells / kind / f"day{index % 6}" / f"{name}.png")
    splits = {"validation": 0.3, "test": 0.3, "group_regex": "^(day[0-9])/"}
    said = refused(cells, showcase_ids=["day0/cell0"], splits={**splits, "group_regex": "^(day[1-9])/"})
    assert "data.splits.group_regex finds no group: images/day0/cell0.png, images/day0/cell6.png. Correct" in said
    rows = table(run(cells, seed=2, showcase_ids=["day0/cell0"], splits=splits))
    assert {name: row["groups"] for name, row in rows.items()} == {
        name: f"group={name.partition('__')[0]}" for name in rows
    }
    assert "day0__cell6" not in rows  # in the showcase's group
