"""Group patterns suggested from file names: what they match, and that no group is in two splits."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pipeline.artifacts.prepared_data import SHOWCASE, PreparedData
from pipeline.prepare.splitting.groups import suggest_groups
from tests.prepare.conftest import create_image, create_section, read_samples, validate_data, write_splits

NUMBERS = [(patient, number) for patient in range(5) for number in range(4)]
MODALITIES = ("t1", "t2", "flair")

# Names, the number of groups, and the group of the first name.
SUGGESTIONS = {
    "patient and slice": ([f"patient{p}_slice{n:02}" for p, n in NUMBERS], 5, "patient0"),
    "separate numbers": ([f"patient_{p:02}_slice_{n:02}" for p, n in NUMBERS], 5, "patient_00_slice"),
    "folders": ([f"patient{p}/slice{n:02}" for p, n in NUMBERS], 5, "patient0"),
    "folders of modalities": (
        [f"patient{p}/{m}_{n}" for p, n in NUMBERS for m in MODALITIES],
        5,
        "patient0",
    ),
    "nested modalities": ([f"patient{p}/{m}/{n}" for p, n in NUMBERS for m in MODALITIES], 5, "patient0"),
    "patients of two sites": ([f"site{s}/p{p}_{n}" for s in "AB" for p, n in NUMBERS], 10, "siteA/p0"),
    "no separator": ([f"p{p}s{n}" for p, n in NUMBERS], 5, "p0"),
    "time-lapse frames": ([f"2021-03-{p + 1:02}_{n:02}30" for p, n in NUMBERS], 5, "2021-03-01"),
    "tiles": ([f"slide{p}_x{n * 256}_y{m * 256}" for p, n in NUMBERS for m in range(2)], 5, "slide0"),
    "copies in a file manager": ([f"patient {p} ({n})" for p, n in NUMBERS], 5, "patient 0"),
    "one patient with one image": ([*(f"patient{p}_{n}" for p, n in NUMBERS), "patient9_0"], 6, "patient0"),
    "one patient with most images": (
        [*(f"patient{p}_{n}" for p, n in NUMBERS), *(f"p_{n}" for n in range(20))],
        6,
        "patient0",
    ),
    "split folders": ([f"{'train' if p < 4 else 'val'}/patient{p}_{n}" for p, n in NUMBERS], 5, "patient0"),
    "a patient in two split folders": ([f"{'train' if n < 3 else 'val'}/p{p}_{n}" for p, n in NUMBERS], 5, "p0"),
    "nested in split folders": (
        [f"{'train' if p < 4 else 'val'}/patient{p}/{m}/{n}" for p, n in NUMBERS for m in ("t1", "t2")],
        5,
        "patient0",
    ),
    "augmented copies": ([f"IMG_{p}_jpg.rf.{'abcd'[n] * 32}" for p, n in NUMBERS], 5, "IMG_0_jpg"),
}


@pytest.mark.parametrize(("names", "count", "first"), SUGGESTIONS.values(), ids=SUGGESTIONS.keys())
def test_suggest_groups_finds_groups_in_names(names, count, first):
    suggestion = suggest_groups(names)
    groups = [re.search(suggestion.regex, name)[1] for name in names]
    assert (suggestion.groups, len(set(groups)), groups[0]) == (count, count, first)
    assert suggestion.example[1] == first


@pytest.mark.parametrize(
    "names",
    [
        [],
        ["only"],
        [f"IMG_{n:04}" for n in range(20)],
        [f"{n:05}" for n in range(20)],
        [f"train/{n:05}" for n in range(20)],
        [np.random.default_rng(n).bytes(8).hex() for n in range(40)],
        [
            f"{np.random.default_rng(n).bytes(4).hex()}-{np.random.default_rng(n + 99).bytes(2).hex()}"
            for n in range(40)
        ],
        [f"a_{n}" for n in range(20)] + [f"b_{n}" for n in range(20)],
        [f"a_{n}" for n in range(40)] + [f"{letter}_{n}" for letter in "bc" for n in range(2)],
        ["readme", *(f"patient{p}_{n}" for p, n in NUMBERS)],
    ],
    ids=lambda names: names[0] if names else "none",
)
def test_suggest_groups_without_groups_returns_none(names):
    assert suggest_groups(names) is None


PART = st.text("ab1 _-", min_size=1, max_size=4)
PATHS = st.lists(PART, min_size=1, max_size=3).map("/".join)
SPLIT_PATHS = st.tuples(st.sampled_from(["", "train/", "val/"]), PATHS).map("".join)


@given(st.lists(SPLIT_PATHS, max_size=20, unique=True), st.integers(1, 3))
def test_suggest_groups_pattern_matches_every_name_with_the_stated_count(paths, count):
    names = [f"{path}_{number}" for path in paths for number in range(count)]
    suggestion = suggest_groups(names)
    if suggestion is not None:
        groups = [re.search(suggestion.regex, name)[1] for name in names]
        assert len(set(groups)) == suggestion.groups >= 3
        assert max(groups.count(group) for group in groups) <= 0.75 * len(names)


def write_images(folder, names, first=0):
    for index, name in enumerate(names, first):
        for kind, image in (
            ("images", create_image(index)),
            ("masks", Image.fromarray(np.eye(16, 24, dtype=np.uint8))),
        ):
            path = folder / kind / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            image.save(path)
    return folder


@pytest.mark.parametrize("case", ["patient and slice", "folders of modalities", "split folders"])
def test_suggested_pattern_puts_no_group_into_two_splits(tmp_path, run, case):
    names, count, _ = SUGGESTIONS[case]
    folder = write_images(tmp_path / "cells", names)
    splits = {"validation": 0.2, "test": 0.2, "stratify": True}
    (notice,) = [
        text for text in PreparedData(run(folder, showcase_ids=None, splits=splits)).stats.notices if "suggest" in text
    ]
    pattern = re.search("data.splits.group_regex: '(.*)' to keep", notice)[1]
    if case == "split folders":
        write_images(folder, [f"test/patient{p}_{n}" for p in (8, 9) for n in range(4)], first=100)
        count += 2
    rows = read_samples(run(folder, showcase_ids=None, splits={**splits, "group_regex": pattern}))
    pairs = {(row["groups"], row["split"]) for row in rows.values() if row["split"] != SHOWCASE}
    groups = {group for group, _ in pairs}
    assert len(pairs) == len(groups) == count - 1  # without the group of the showcase


def test_groups_in_a_list_need_no_suggestion(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names, _, _ = SUGGESTIONS["patient and slice"]
    folder = write_images(tmp_path / "cells", names)
    split_by_patient = {"0": "train", "1": "train", "2": "train", "3": "validation", "4": "test"}
    lines = [f"{name},{split_by_patient[name[7]]}" for name in names]
    write_splits(folder, lines)
    assert any(
        "suggest" in text for text in validate_data(create_section(folder, showcase_ids=None)).data.stats.notices
    )
    write_splits(folder, [f"{line},{line[7]}" for line in lines], header="id,split,group")
    assert not any(
        "suggest" in text for text in validate_data(create_section(folder, showcase_ids=None)).data.stats.notices
    )
