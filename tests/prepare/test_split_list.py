"""A list of splits with other names, and images of `trainval`."""

import hashlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.artifacts.prepared_data import SHOWCASE, SPLITS
from pipeline.prepare.image_mask_pair import SplitRow
from pipeline.prepare.splitting.assign_splits import assign_splits
from tests.prepare.conftest import NAMES, SPLIT_BY_NAME, section, table, write_splits

LIST = {"file": "about/index.csv", "id": "name", "split": "part", "group": None}


def shares(validation=0.2, test=0.2, **named):
    return {"validation": validation, "test": test, "split_file": {**LIST, **named}}


@pytest.fixture
def listed(cells):
    """The cells with a list of other names in the place of splits.csv; it has columns that nobody asks for."""
    (cells / "splits.csv").unlink()
    (cells / "about").mkdir()
    rows = [f"{number},{name},{SPLIT_BY_NAME.get(name, 'train')},{name[-1]}" for number, name in enumerate(NAMES)]
    write_splits(cells, rows, "number,name,part,film", file="about/index.csv")
    return cells


def test_a_list_with_other_names_divides(listed, run):
    rows = table(run(listed, splits=shares()))
    assert {name: row["split"] for name, row in rows.items()} == {**SPLIT_BY_NAME, "cell0": SHOWCASE}
    assert {row["groups"] for row in rows.values()} == {""}


def test_a_list_goes_before_splits_csv(listed, run):
    write_splits(listed, [f"{name},train" for name in NAMES])
    assert {row["split"] for row in table(run(listed, splits=shares())).values()} == {*SPLITS, SHOWCASE}


def test_a_list_may_have_groups_and_no_splits(listed, run):
    splits = shares(0.3, 0.3, split=None, group="number")
    rows = table(run(listed, splits=splits, seed=3))
    assert rows["cell7"]["groups"] == "group=7"
    assert {row["split"] for row in rows.values()} == {*SPLITS, SHOWCASE}


def test_a_list_that_is_not_there_is_named(listed, refused):
    said = refused(listed, splits=shares(file="abuot/index.csv"))
    assert (
        f"data.splits.split_file.file: {listed / 'abuot/index.csv'} does not exist. Write the path of the list "
        "relative to" in said
    )


def test_columns_that_are_not_there_are_named_with_the_nearest(listed, refused):
    said = refused(listed, splits=shares(id="nmae", split="prat", group="patient")).splitlines()
    columns = "its columns are number, name, part, film."
    assert [line.partition(": ")[0] for line in said] == [
        f"data.splits.split_file.{role}" for role in ("id", "split", "group")
    ]
    assert said[0].endswith(f"about/index.csv has no column 'nmae'; {columns} Did you mean 'name'?")
    assert said[1].endswith(f"has no column 'prat'; {columns} Did you mean 'part'?")


def test_a_mistake_in_a_list_is_named_with_its_file_and_line(listed, refused):
    with (listed / "about/index.csv").open("a", encoding="utf-8") as file:
        file.write("12,cell12,train,2\n")
    assert re.search(r"about/index\.csv, line 14: there is no image 'cell12'", refused(listed, splits=shares()))


def write_trainval(folder):
    write_splits(folder, [f"{name},{'test' if index % 3 == 2 else 'trainval'}" for index, name in enumerate(NAMES)])


def test_trainval_is_training_or_validation(cells, run):
    write_trainval(cells)
    found = [row["split"] for row in table(run(cells, splits={"validation": 0.5, "test": 0})).values()]
    # Eight, without the showcase: half of seven, rounded to the even number.
    assert {split: found.count(split) for split in SPLITS} == {"train": 3, "validation": 4, "test": 4}


def test_no_share_of_trainval_is_no_validation(cells, refused):
    write_trainval(cells)
    said = refused(cells, splits={"validation": 0, "test": 0})
    assert re.search(r"splits\.csv: there is no sample for 'validation'.*a larger share in data\.splits", said)


PARTS = st.sampled_from(["train", "validation", "test", "trainval", ""])


@given(
    st.dictionaries(st.text("abcxyz0123", min_size=1, max_size=4), PARTS),
    st.integers(0, 9),
    st.floats(0, 1),
    st.booleans(),
)
def test_of_trainval_exactly_the_share_is_for_validation_and_the_rest_of_the_list_holds(parts, seed, share, shown):
    named = sorted(parts)[:1] if shown else []
    data = section("x", showcase_ids=named, seed=seed, splits={"validation": share, "test": 0.0})
    found = assign_splits(sorted(parts), {name: SplitRow(part) for name, part in parts.items()}, {}, data, "")
    pool = {name for name, part in parts.items() if part == "trainval"} - set(named)
    assert len(pool & set(found.ids["validation"])) == round(share * len(pool))
    assert pool <= {*found.ids["validation"], *found.ids["train"]}
    for split in SPLITS:
        assert {name for name, part in parts.items() if part == split} - set(named) <= set(found.ids[split])
    assert sorted(name for names in found.ids.values() for name in names) == sorted(parts)


@given(
    st.dictionaries(st.text("abcxyz0123", min_size=1, max_size=4), st.sampled_from(["", "p", "q", "r", "s"])),
    st.integers(0, 9),
    st.floats(0, 1),
)
def test_groups_of_trainval_come_whole_until_the_share_is_reached(groups, seed, share):
    data = section("x", showcase_ids=[], seed=seed, splits={"validation": share, "test": 0.0})
    rows = {name: SplitRow("trainval", group) for name, group in groups.items()}
    found = assign_splits(sorted(groups), rows, {name: group for name, group in groups.items() if group}, data, "")
    validation, wanted = found.ids["validation"], round(share * len(groups))
    together = {name: [other for other, its in groups.items() if its and its == groups[name]] for name in groups}
    for name in validation:
        assert set(together[name]) <= set(validation)
    assert len(validation) >= wanted
    # Without the one that came last, the share was not reached yet.
    assert not validation or len(validation) - max(max(len(together[name]), 1) for name in validation) < wanted


@given(st.integers(0, 99))
def test_another_seed_chooses_others(seed):
    names = [f"image{index}" for index in range(100)]
    rows = {name: SplitRow("trainval") for name in names}
    splits = {"validation": 0.3, "test": 0.0}
    first, second = (
        assign_splits(names, rows, {}, section("x", showcase_ids=[], seed=chosen, splits=splits), "").ids["validation"]
        for chosen in (seed, seed + 1)
    )
    assert len(first) == len(second) == 30
    assert first != second


@given(st.sets(st.text("abcxyz0123", min_size=1, max_size=6), min_size=5, max_size=60))
def test_seeds_are_the_folds_of_a_cross_validation(names):
    names = sorted(names)[: len(names) // 5 * 5]
    rows = {name: SplitRow("trainval") for name in names}
    splits = {"validation": 0.2, "test": 0.0}
    folds = [
        assign_splits(names, rows, {}, section("x", showcase_ids=[], seed=seed, splits=splits), "").ids["validation"]
        for seed in range(5)
    ]
    assert sorted(name for fold in folds for name in fold) == names
    # Fold 0 is the head of the order that anyone can make from the names alone.
    order = sorted(names, key=lambda name: hashlib.sha256(name.encode()).hexdigest())
    assert set(folds[0]) == set(order[: len(names) // 5])
