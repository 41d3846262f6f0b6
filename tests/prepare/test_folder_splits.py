"""Assigning images to splits by a list, by groups and by hashes."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pipeline.artifacts.prepared_data import SHOWCASE, SPLITS, PreparedData
from pipeline.params.data.image_data import FoldedSplits
from pipeline.prepare.image_mask_pair import SplitRow
from pipeline.prepare.splitting.assign_splits import MAX_COMPARED, assign_splits
from tests.prepare.conftest import MASK, NAMES, SPLIT_BY_NAME, create_image, create_section, read_samples, write_splits

LINES = {
    "unknown image": (["cell99,train"], r"line 14: there is no image 'cell99'"),
    "with its suffix": (["cell1.png,train"], r"line 14: there is no image 'cell1\.png'; .* without the extension"),
    "twice": (["cell1,train"], r"line 14: 'cell1' is repeated"),
    "unknown split": (["cell12,val"], r"line 14: the split must be one of train, validation, test, trainval"),
    "short line": (["cell99"], "line 14: there is no image 'cell99'"),
    "long line": (["cell12,train,test"], "line 14: has more values than the 2 columns"),
    "many": ([f"x{index},train" for index in range(14)], "and 4 more invalid lines"),
}


@pytest.mark.parametrize(("added", "message"), LINES.values(), ids=LINES.keys())
def test_error_in_splits_csv_is_reported_with_its_line(cells, get_prepare_error, added, message):
    create_image().save(cells / "images/cell12.png")
    Image.fromarray(MASK).save(cells / "masks/cell12.png")
    with (cells / "splits.csv").open("a", encoding="utf-8") as file:
        file.write("\n".join(added) + "\n")
    assert re.search(rf"splits\.csv.*{message}", get_prepare_error(cells))


def test_splits_csv_must_name_every_image_and_its_columns(cells, get_prepare_error):
    write_splits(cells, [f"{name},train" for name in NAMES[:5]])
    assert "splits.csv has no line for 7 of 12 images: cell10, cell11, cell5" in get_prepare_error(cells)
    write_splits(cells, ["cell0;train"], header="id;split")
    assert "splits.csv, line 1: the columns must be id,split" in get_prepare_error(cells)
    (cells / "splits.csv").write_bytes(b"id,split\n\xff\xfe,train\n")
    assert "splits.csv cannot be read" in get_prepare_error(cells)


@pytest.mark.parametrize("column", ["id", "split", "group"])
def test_repeated_columns_of_splits_csv_are_refused(cells, get_prepare_error, column):
    write_splits(cells, [f"{name},train,film,x" for name in NAMES], header=f"id,split,group,{column}")
    assert f"splits.csv, line 1: has several columns named {column}" in get_prepare_error(cells)


UNUSED = {
    "another case": ("Group,site", "not used: Group, site. Did you mean 'group' by 'Group'?"),
    "plural": ("groups,fold", "not used: groups. Did you mean 'group' by 'groups'?"),
    "another name": ("patient,site", "not used: patient, site. If one of them has groups"),
    "besides a group": ("group,site", "not used: site."),
}


@pytest.mark.parametrize(("columns", "message"), UNUSED.values(), ids=UNUSED.keys())
def test_unused_columns_of_splits_csv_are_reported(cells, run, columns, message):
    rows = [f"{name},{split},{name}," for name, split in {"cell0": "train", **SPLIT_BY_NAME}.items()]
    write_splits(cells, rows, header=f"id,split,{columns}")
    (notice,) = (text for text in PreparedData(run(cells)).stats.notices if "not used" in text)
    assert message in notice


def test_empty_values_and_columns_at_the_end_of_splits_csv_are_ignored(cells, run):
    rows = [f"{name},{split},,," for name, split in {"cell0": "train", **SPLIT_BY_NAME}.items()]
    write_splits(cells, rows, header="id,split,,")
    assert not [text for text in PreparedData(run(cells)).stats.notices if "not used" in text]


def test_folds_of_splits_csv_without_cross_validation_are_reported(cells, run):
    rows = [f"{name},,{index % 3}" for index, name in enumerate(NAMES)]
    write_splits(cells, rows, header="id,split,fold")
    (notice,) = (text for text in PreparedData(run(cells)).stats.notices if "folds" in text)
    assert "3 folds, which are not used" in notice
    assert "data.splits.folds: 3" in notice


def test_groups_of_splits_csv_are_kept(cells, run):
    rows = [f"{name},{split},{split}-film" for name, split in SPLIT_BY_NAME.items()]
    # With a byte order mark, as saved by spreadsheets.
    write_splits(cells, ["cell0,train,first", *rows], header="\ufeffid,split,group")
    assert read_samples(run(cells))["cell1"]["groups"] == f"group={SPLIT_BY_NAME['cell1']}-film"


def test_groups_that_differ_only_in_case_are_reported(cells, run):
    films = {"cell1": "P01", "cell2": "p01", "cell3": "P02", "cell6": "p02"}
    rows = [f"{name},{split},{films.get(name, name)}" for name, split in SPLIT_BY_NAME.items()]
    write_splits(cells, ["cell0,train,first", *rows], header="id,split,group")
    (notice,) = (text for text in PreparedData(run(cells)).stats.notices if "case" in text)
    assert notice.startswith("2 groups have several spellings each that differ only in case, such as P01, p01. They")


def test_group_in_two_splits_is_refused(cells, get_prepare_error):
    write_splits(cells, ["cell0,train,", *(f"{n},{s},film" for n, s in SPLIT_BY_NAME.items())], header="id,split,group")
    assert re.search(r"splits\.csv: the group 'film' is in \w+ and, with cell\d+, in \w+", get_prepare_error(cells))
    rows = [f"{name},{'' if name == 'cell9' else 'train'},film" for name in SPLIT_BY_NAME]
    write_splits(cells, ["cell0,train,", *rows], header="id,split,group")
    assert "the group 'film' is in train and, with cell9, in no split" in get_prepare_error(cells)
    write_splits(cells, [f"{name},train,a=b" for name in NAMES], header="id,split,group")
    assert "the group 'a=b' must not contain ; or =" in get_prepare_error(cells)


def test_images_in_the_group_of_the_showcase_are_skipped(cells, run):
    rows = [f"{name},{split},{'dish' if name == 'cell1' else name}" for name, split in SPLIT_BY_NAME.items()]
    write_splits(cells, ["cell0,test,dish", *rows], header="id,split,group")
    prepared = run(cells)
    assert "cell1" not in read_samples(prepared)
    skipped = (prepared / PreparedData.SKIPPED).read_text(encoding="utf-8")
    assert skipped == "id,reason\ncell1,shares its group 'dish' with the showcase image cell0\n"


def test_showcase_is_chosen_from_training_and_a_missing_one_refused(cells, run, get_prepare_error):
    assert "data.showcase_ids: there is no image 'dog'" in get_prepare_error(cells, showcase_ids=["dog"])
    rows = read_samples(run(cells, showcase_ids=None))
    (showcase,) = (name for name, row in rows.items() if row["split"] == SHOWCASE)
    assert {**SPLIT_BY_NAME, "cell0": "train"}[showcase] == "train"
    assert len(rows) == len(NAMES)


def test_empty_split_is_reported_with_what_to_do(cells, get_prepare_error):
    write_splits(cells, [f"{name},{'train' if index % 2 else 'test'}" for index, name in enumerate(NAMES)])
    assert re.search(r"splits\.csv: there is no sample for 'validation'.*other splits", get_prepare_error(cells))
    (cells / "splits.csv").unlink()
    assert re.search(
        r"data\.splits\.test: there is no sample for 'test'.*data\.seed",
        get_prepare_error(cells, splits={"validation": 0.5, "test": 1e-9}),
    )


def test_fewer_images_than_splits_are_reported_with_the_needed_number(cells, get_prepare_error):
    (cells / "splits.csv").unlink(missing_ok=True)
    for name in NAMES[3:]:
        for path in cells.glob(f"*/{name}.*"):
            path.unlink()
    message = get_prepare_error(cells)
    assert "3 images are too few: add images until there are at least 4." in message
    assert "data.seed" not in message


@pytest.mark.parametrize("split", SPLITS)
def test_class_missing_from_a_split_is_a_notice(cells, run, split):
    for name in (name for name, name_split in SPLIT_BY_NAME.items() if name_split == split):
        Image.fromarray(MASK % 2).save(cells / "masks" / f"{name}.png")
    prepared = run(cells)
    missing = [notice for notice in PreparedData(prepared).stats.notices if f"the split '{split}'" in notice]
    masks = list(SPLIT_BY_NAME.values()).count(split)
    message = (
        f"class 'wall' occurs in none of the {masks} masks of the split '{split}', so its scores are undefined there."
    )
    assert missing == [message]
    shares = [float(row["share_wall"]) for row in read_samples(prepared).values() if row["split"] == split]
    assert shares == [0.0] * len(shares)


def test_images_without_splits_csv_are_split_by_hash(cells, run):
    (cells / "splits.csv").unlink()
    rows = read_samples(run(cells, splits={"validation": 0.3, "test": 0.3}, seed=3))
    assert {row["split"] for row in rows.values()} == {*SPLITS, SHOWCASE}


NAMES_AND_GROUPS = st.dictionaries(st.text("abcxyz0123_", min_size=1, max_size=6), st.sampled_from(["", "p", "q", "r"]))


@given(NAMES_AND_GROUPS, NAMES_AND_GROUPS, st.integers(0, 9), st.floats(0.01, 0.49), st.floats(0.01, 0.49))
def test_hashed_splits_are_complete_stable_and_keep_groups(first, added, seed, validation, test):
    data = create_section("x", showcase_ids=None, seed=seed, splits={"validation": validation, "test": test})

    def assign(images):
        groups = {name: group for name, group in images.items() if group}
        assignment = assign_splits(sorted(images), {}, groups, data, "")
        pairs = [(name, split) for split, names in assignment.ids.items() for name in names]
        pairs += [(name, "excluded") for name, _ in assignment.excluded]
        assert sorted(name for name, _ in pairs) == sorted(images)  # each exactly once
        return dict(pairs)

    before, after = assign(first), assign({**added, **first})
    for group in "pqr":
        assert len({split for name, split in before.items() if first[name] == group} - {"excluded"}) <= 1
    # Another showcase may be chosen; only it and its group may move.
    moved = {name for name, split in before.items() if after[name] != split}
    allowed = {"train", "excluded", SHOWCASE}
    assert {before[name] for name in moved} | {after[name] for name in moved} <= allowed


@given(st.integers(0, 99))
def test_hashed_validation_split_is_independent_of_the_test_fraction(seed):
    names = [f"image{index}" for index in range(800)]

    def assign_validation(test):
        shares = FoldedSplits(validation=0.25, test=test)
        data = create_section("x", showcase_ids=["image0"], seed=seed).model_copy(update={"splits": shares})
        return set(assign_splits(names, {}, {}, data, "").ids["validation"])

    assert len(assign_validation(0.1)) == pytest.approx(200, abs=75)  # six standard deviations
    assert assign_validation(0.1) == assign_validation(0.6)


@pytest.mark.parametrize("groups", [{}, {f"i{index}": f"g{index // 3}" for index in range(12)}])
def test_assign_splits_chooses_a_showcase_without_taking_all_foreground(groups):
    names = [f"i{index}" for index in range(12)]
    rows = {name: SplitRow("train") for name in names}
    data = create_section("x", showcase_ids=None)

    def choose(showable):
        shares = {name: np.array([0.5]) for name in showable}
        assignment = assign_splits(names, rows, groups, data, "", find_showable=lambda _: shares)
        return assignment.ids[SHOWCASE]

    assert choose({"i4"}) not in ([], ["i4"])  # the only image with foreground stays in training
    assert choose({"i4", "i9"})[0] in {"i4", "i9"}
    assert choose(set()) == choose(set(names))
    if groups:
        assert groups[choose({"i3", "i4", "i5"})[0]] != "g1"


def test_showcase_is_the_most_typical_training_image_with_foreground(cells, run):
    foreground_rows = {"cell0": 16, "cell1": 0, "cell2": 9, "cell4": 3, "cell7": 4, "cell10": 2}  # of 16; median 4
    write_splits(cells, [f"{name},{'train' if name in foreground_rows else SPLIT_BY_NAME[name]}" for name in NAMES])
    for name, count in foreground_rows.items():
        mask = np.zeros(MASK.shape, np.uint8)
        mask[:count] = 1
        Image.fromarray(mask).save(cells / "masks" / f"{name}.png")
    rows = read_samples(run(cells, showcase_ids=None, seed=5))
    assert [name for name, row in rows.items() if row["split"] == SHOWCASE] == ["cell7"]


def test_assign_splits_measures_few_images_of_a_large_training_set():
    names = [f"i{index}" for index in range(3 * MAX_COMPARED)]
    measured = []

    def find(candidates):
        measured.extend(candidates)
        return {name: np.array([0.5]) for name in candidates}

    assign_splits(
        names,
        {name: SplitRow("train") for name in names},
        {},
        create_section("x", showcase_ids=None),
        "",
        find_showable=find,
    )
    assert len(measured) == MAX_COMPARED


def test_assign_splits_chooses_a_typical_showcase_of_the_smallest_groups():
    groups = {**{f"a{index}": "a" for index in range(5)}, **{f"b{index}": "b" for index in range(2)}}
    groups |= {f"c{index}": "c" for index in range(2)}
    shares = {name: np.array([0.3]) for name in groups} | {name: np.array([0.9]) for name in ("b0", "c0", "c1")}
    rows = {name: SplitRow("train") for name in groups}
    assignment = assign_splits(
        sorted(groups), rows, groups, create_section("x", showcase_ids=None), "", find_showable=lambda _: shares
    )
    assert assignment.ids[SHOWCASE] == ["b1"]
    assert [name for name, _ in assignment.excluded] == ["b0"]
