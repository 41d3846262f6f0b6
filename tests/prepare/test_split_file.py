"""Tables of splits with other file and column names (`data.splits.split_file`), and `trainval` images."""

import hashlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.artifacts.prepared_data import SHOWCASE, SPLITS
from pipeline.prepare.image_mask_pair import SplitRow
from pipeline.prepare.splitting.assign_splits import assign_splits
from tests.prepare.conftest import NAMES, SPLIT_BY_NAME, create_section, read_samples, write_splits

LIST = {"file": "about/index.csv", "id": "name", "split": "part", "group": None}


def create_splits(validation=0.2, test=0.2, **columns):
    return {"validation": validation, "test": test, "split_file": {**LIST, **columns}}


@pytest.fixture
def listed_cells(cells):
    """The cells with a list of another name, other columns and unused ones instead of splits.csv."""
    (cells / "splits.csv").unlink()
    (cells / "about").mkdir()
    rows = [f"{number},{name},{SPLIT_BY_NAME.get(name, 'train')},{name[-1]}" for number, name in enumerate(NAMES)]
    write_splits(cells, rows, "number,name,part,film", file="about/index.csv")
    return cells


def test_list_with_other_columns_assigns_splits(listed_cells, run):
    rows = read_samples(run(listed_cells, splits=create_splits()))
    assert {name: row["split"] for name, row in rows.items()} == {**SPLIT_BY_NAME, "cell0": SHOWCASE}
    assert {row["groups"] for row in rows.values()} == {""}


def test_list_takes_precedence_over_splits_csv(listed_cells, run):
    write_splits(listed_cells, [f"{name},train" for name in NAMES])
    assert {row["split"] for row in read_samples(run(listed_cells, splits=create_splits())).values()} == {
        *SPLITS,
        SHOWCASE,
    }


def test_list_may_have_groups_without_splits(listed_cells, run):
    splits = create_splits(0.3, 0.3, split=None, group="number")
    rows = read_samples(run(listed_cells, splits=splits, seed=3))
    assert rows["cell7"]["groups"] == "group=7"
    assert {row["split"] for row in rows.values()} == {*SPLITS, SHOWCASE}


def test_missing_list_is_named(listed_cells, get_prepare_error):
    message = get_prepare_error(listed_cells, splits=create_splits(file="abuot/index.csv"))
    assert (
        f"data.splits.split_file.file: {listed_cells / 'abuot/index.csv'} does not exist. Write the path of the list "
        "relative to" in message
    )


def test_missing_columns_are_reported_with_the_closest_match(listed_cells, get_prepare_error):
    message = get_prepare_error(
        listed_cells, splits=create_splits(id="nmae", split="prat", group="patient")
    ).splitlines()
    columns = "its columns are number, name, part, film."
    assert [line.partition(": ")[0] for line in message] == [
        f"data.splits.split_file.{role}" for role in ("id", "split", "group")
    ]
    assert message[0].endswith(f"about/index.csv has no column 'nmae'; {columns} Did you mean 'name'?")
    assert message[1].endswith(f"has no column 'prat'; {columns} Did you mean 'part'?")


def test_error_in_a_list_is_reported_with_its_line(listed_cells, get_prepare_error):
    with (listed_cells / "about/index.csv").open("a", encoding="utf-8") as file:
        file.write("12,cell12,train,2\n")
    assert re.search(
        r"about/index\.csv, line 14: there is no image 'cell12'",
        get_prepare_error(listed_cells, splits=create_splits()),
    )


def write_trainval(folder):
    write_splits(folder, [f"{name},{'test' if index % 3 == 2 else 'trainval'}" for index, name in enumerate(NAMES)])


def test_trainval_images_are_split_into_train_and_validation(cells, run):
    write_trainval(cells)
    splits = [row["split"] for row in read_samples(run(cells, splits={"validation": 0.5, "test": 0})).values()]
    # Eight images, one of them the showcase: half of seven, rounded to even.
    assert {split: splits.count(split) for split in SPLITS} == {"train": 3, "validation": 4, "test": 4}


def test_trainval_with_a_validation_fraction_of_zero_is_refused(cells, get_prepare_error):
    write_trainval(cells)
    message = get_prepare_error(cells, splits={"validation": 0, "test": 0})
    assert re.search(r"splits\.csv: there is no sample for 'validation'.*a larger share in data\.splits", message)


PARTS = st.sampled_from(["train", "validation", "test", "trainval", ""])


@given(
    st.dictionaries(st.text("abcxyz0123", min_size=1, max_size=4), PARTS),
    st.integers(0, 9),
    st.floats(0, 1),
    st.booleans(),
)
def test_trainval_gives_exactly_the_fraction_to_validation(parts, seed, fraction, has_showcase):
    showcase_ids = sorted(parts)[:1] if has_showcase else []
    data = create_section("x", showcase_ids=showcase_ids, seed=seed, splits={"validation": fraction, "test": 0.0})
    assignment = assign_splits(sorted(parts), {name: SplitRow(part) for name, part in parts.items()}, {}, data, "")
    pool = {name for name, part in parts.items() if part == "trainval"} - set(showcase_ids)
    assert len(pool & set(assignment.ids["validation"])) == round(fraction * len(pool))
    assert pool <= {*assignment.ids["validation"], *assignment.ids["train"]}
    for split in SPLITS:
        assert {name for name, part in parts.items() if part == split} - set(showcase_ids) <= set(assignment.ids[split])
    assert sorted(name for names in assignment.ids.values() for name in names) == sorted(parts)


@given(
    st.dictionaries(st.text("abcxyz0123", min_size=1, max_size=4), st.sampled_from(["", "p", "q", "r", "s"])),
    st.integers(0, 9),
    st.floats(0, 1),
)
def test_trainval_groups_are_kept_until_the_fraction_is_reached(groups, seed, fraction):
    data = create_section("x", showcase_ids=[], seed=seed, splits={"validation": fraction, "test": 0.0})
    rows = {name: SplitRow("trainval", group) for name, group in groups.items()}
    assignment = assign_splits(sorted(groups), rows, {name: group for name, group in groups.items() if group}, data, "")
    validation, min_images = assignment.ids["validation"], round(fraction * len(groups))
    members = {name: [other for other, group in groups.items() if group and group == groups[name]] for name in groups}
    for name in validation:
        assert set(members[name]) <= set(validation)
    assert len(validation) >= min_images
    # Without its last group, the validation split would be too small.
    assert not validation or len(validation) - max(max(len(members[name]), 1) for name in validation) < min_images


def assign_validation(names, fraction, seed):
    """Return the validation images of a list that has all images in trainval."""
    rows = {name: SplitRow("trainval") for name in names}
    data = create_section("x", showcase_ids=[], seed=seed, splits={"validation": fraction, "test": 0.0})
    return assign_splits(names, rows, {}, data, "").ids["validation"]


@given(st.integers(0, 99))
def test_another_seed_gives_another_validation_split(seed):
    names = [f"image{index}" for index in range(100)]
    first, second = (assign_validation(names, 0.3, split_seed) for split_seed in (seed, seed + 1))
    assert len(first) == len(second) == 30
    assert first != second


@given(st.sets(st.text("abcxyz0123", min_size=1, max_size=6), min_size=5, max_size=60))
def test_seeds_are_cross_validation_folds(names):
    names = sorted(names)[: len(names) // 5 * 5]
    folds = [assign_validation(names, 0.2, seed) for seed in range(5)]
    assert sorted(name for fold in folds for name in fold) == names
    # Fold 0 is the start of the order by hashes of the names.
    order = sorted(names, key=lambda name: hashlib.sha256(name.encode()).hexdigest())
    assert set(folds[0]) == set(order[: len(names) // 5])
