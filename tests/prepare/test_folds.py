"""Folds of a cross-validation: assignment by hash or list, what is prepared, and invalid folds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from PIL import Image

from pipeline.artifacts.prepared_data import SPLITS, PreparedData
from pipeline.errors import PipelineError
from pipeline.params.file import read_params
from pipeline.prepare.splitting.folds import assign_folds
from tests.prepare.conftest import MASK, NAMES, read_samples, write_folder_params, write_splits

FOLDED = {"validation": 0.2, "test": 0.2, "folds": 3}
LEARNED = NAMES[1:11]  # apart from the showcase, cell0, and the test image, cell11


def write_folds(cells: Path, fold: Mapping[str, object], groups: Mapping[str, str] | None = None) -> None:
    """Write a list with the fold, and optionally the group, of each image in `LEARNED`."""
    rows = ["cell0,train,,", "cell11,test,,", *(f"{n},,{fold[n]},{groups[n] if groups else ''}" for n in LEARNED)]
    write_splits(cells, rows, header="id,split,fold,group")


@given(groups=st.lists(st.integers(0, 12), min_size=1, max_size=60), folds=st.integers(2, 6), seed=st.integers(0, 3))
def test_assign_folds_keeps_groups_together_and_fills_every_fold(groups: list[int], folds: int, seed: int) -> None:
    names = {f"image{index}": f"group{group}" for index, group in enumerate(groups)}
    if len(set(groups)) < folds:
        with pytest.raises(PipelineError, match=rf"{folds} folds require at least {folds} groups"):
            assign_folds([list(names)], {}, names, folds, seed, "splits.csv")
        return
    found = assign_folds([list(names)], {}, names, folds, seed, "splits.csv")
    by_group = {group: {found[name] for name in names if names[name] == group} for group in names.values()}
    assert all(len(places) == 1 for places in by_group.values())
    counts = Counter(next(iter(places)) for places in by_group.values())
    assert sorted(counts) == list(range(folds))
    assert max(counts.values()) - min(counts.values()) <= 1


@given(count=st.integers(10, 60), folds=st.integers(2, 6))
def test_adding_an_image_moves_at_most_one_image_per_border(count: int, folds: int) -> None:
    names = [f"image{index}" for index in range(count + 1)]
    before = assign_folds([names[:-1]], {}, {}, folds, 0, "")
    after = assign_folds([names], {}, {}, folds, 0, "")
    assert sum(before[name] != after[name] for name in names[:-1]) <= folds - 1


@given(sizes=st.lists(st.integers(1, 20), min_size=1, max_size=5), folds=st.integers(2, 5))
def test_assign_folds_distributes_every_stratum(sizes: list[int], folds: int) -> None:
    strata = [[f"{place}-{index}" for index in range(size)] for place, size in enumerate(sizes)]
    assume(sum(sizes) >= folds)
    found = assign_folds(strata, {}, {}, folds, 0, "")
    assert set(found.values()) == set(range(folds))
    for stratum in strata:
        counts = Counter(found[name] for name in stratum)
        assert max(counts.values()) - min(counts.get(fold, 0) for fold in range(folds)) <= 1


def read_prepared(path: Path) -> PreparedData:
    return PreparedData(path, path.parents[1])


def test_every_image_but_the_tests_is_validated_in_one_fold(cells: Path, run: Callable[..., Path]) -> None:
    (cells / "splits.csv").unlink()
    prepared = read_prepared(run(cells, splits=FOLDED))
    samples = read_samples(prepared.path)
    tests = {name for name, row in samples.items() if row["split"] == "test"}
    learned = {name for name, row in samples.items() if row["split"] == "train"}
    assert prepared.dataset.folds == 3
    assert {samples[name]["fold"] for name in tests} <= {""}
    assert not (prepared.path / "validation" / "images.npy").exists()
    validated: list[str] = []
    for fold in range(3):
        view = prepared.select_fold(fold)
        assert view.splits == (SPLITS if tests else SPLITS[:2])
        splits = {name: view.open_split(name) for name in ("train", "validation")}
        assert {*splits["train"].ids} | {*splits["validation"].ids} == learned
        assert not {*splits["train"].ids} & {*splits["validation"].ids}
        validated += splits["validation"].ids
        for name, split in splits.items():
            rows = view.samples[view.samples["split"] == name]
            assert tuple(rows["id"]) == split.ids
            for image, sample in zip(split.images, split.ids, strict=True):
                assert np.array_equal(image, _find_image(prepared, sample))
    assert sorted(validated) == sorted(learned)


def _find_image(prepared: PreparedData, sample: str) -> np.ndarray:
    split = prepared.open_split("train")
    return np.asarray(split.images[split.ids.index(sample)])


def test_test_images_are_the_same_with_and_without_folds(cells: Path, run: Callable[..., Path]) -> None:
    (cells / "splits.csv").unlink()
    tests = [
        {name for name, row in read_samples(run(cells, splits=splits)).items() if row["split"] == "test"}
        for splits in (FOLDED, {**FOLDED, "folds": None})
    ]
    assert tests[0] == tests[1]


def test_folds_change_the_fingerprint(cells: Path, run: Callable[..., Path]) -> None:
    fold = {name: index % 3 for index, name in enumerate(LEARNED)}
    write_folds(cells, fold)
    first = read_prepared(run(cells, splits=FOLDED)).dataset.fingerprint
    write_folds(cells, {**fold, "cell1": fold["cell2"], "cell2": fold["cell1"]})
    assert read_prepared(run(cells, splits=FOLDED)).dataset.fingerprint != first


def test_folds_of_a_list_are_used(cells: Path, run: Callable[..., Path]) -> None:
    fold = {name: str(index % 3) for index, name in enumerate(NAMES[1:9])}
    rows = ["cell0,train,", *(f"{name},trainval,{fold[name]}" for name in fold), *(f"{n},test," for n in NAMES[9:])]
    write_splits(cells, rows, header="id,split,fold")
    samples = read_samples(run(cells, splits=FOLDED))
    assert {name: samples[name]["fold"] for name in fold} == fold
    assert {samples[name]["split"] for name in NAMES[9:]} == {"test"}


LISTS = {
    "validation": (["{0},validation,"], "assigns 1 images to validation"),
    "test with a fold": (["{0},test,1"], "is a test image, but has fold 1"),
    "missing fold": (["{0},trainval,0", "{1},trainval,"], "must be a whole number from 0 to 2"),
    "too large": (["{0},trainval,3"], "must be a whole number from 0 to 2"),
    "text": (["{0},trainval,first"], "but is 'first'"),
    "empty folds": (["{0},trainval,0", "{1},trainval,0"], "fold 1, 2 has no images"),
}


@pytest.mark.parametrize(("lines", "message"), LISTS.values(), ids=LISTS.keys())
def test_invalid_folds_of_a_list_are_refused(
    cells: Path, get_prepare_error: Callable[..., str], lines: list[str], message: str
) -> None:
    named = [line.format(*NAMES[1:]) for line in lines]
    rest = NAMES[1 + len(lines) :]
    fold = "0" if "empty" in message or "has no images" in message else ""
    rows = ["cell0,train,", *named, *(f"{name},trainval,{fold}" for name in rest)]
    write_splits(cells, rows, header="id,split,fold")
    assert message in get_prepare_error(cells, splits={**FOLDED, "test": 0.0})


def test_group_in_two_folds_is_refused(cells: Path, get_prepare_error: Callable[..., str]) -> None:
    fold = {name: index % 3 for index, name in enumerate(LEARNED)}
    write_folds(cells, fold, {name: f"film{index % 4}" for index, name in enumerate(LEARNED)})
    assert "is in fold" in get_prepare_error(cells, splits=FOLDED)


def test_missing_fold_in_a_group_is_named(cells: Path, get_prepare_error: Callable[..., str]) -> None:
    fold = {name: str(index % 3) for index, name in enumerate(LEARNED)}
    write_folds(cells, {**fold, "cell1": "", "cell2": "2"}, {**{n: n for n in LEARNED}, "cell1": "p03", "cell2": "p03"})
    assert "the group 'p03' is in no fold and, with cell2, in fold 2. Assign all its images to the same fold." in (
        get_prepare_error(cells, splits=FOLDED)
    )


def test_validation_share_can_be_left_out_with_folds(cells: Path, run: Callable[..., Path]) -> None:
    (cells / "splits.csv").unlink()
    without = {"test": FOLDED["test"], "folds": FOLDED["folds"]}
    samples = [read_samples(run(cells, splits=splits)) for splits in (FOLDED, without)]
    assert samples[0] == samples[1]


def test_near_duplicate_in_another_fold_is_a_leak(cells: Path, get_prepare_error: Callable[..., str]) -> None:
    (cells / "images/cell2.png").write_bytes((cells / "images/cell1.png").read_bytes())
    write_folds(cells, {name: index % 3 for index, name in enumerate(LEARNED)})
    assert "in fold 1, like images/cell1.png in fold 0" in get_prepare_error(cells, splits=FOLDED)


def test_training_on_fewer_than_two_classes_is_refused(cells: Path, get_prepare_error: Callable[..., str]) -> None:
    for name in LEARNED[1:]:
        Image.fromarray(np.zeros_like(MASK)).save(cells / f"masks/{name}.png")
    write_folds(cells, {name: index % 3 for index, name in enumerate(LEARNED)})
    assert "without fold 0" in get_prepare_error(cells, splits=FOLDED)


def test_a_class_that_is_missing_from_a_fold_is_reported(cells: Path, run: Callable[..., Path]) -> None:
    for name in LEARNED[:6]:
        Image.fromarray(MASK.clip(0, 1)).save(cells / f"masks/{name}.png")
    write_folds(cells, {name: 0 if index < 6 else 1 + index % 2 for index, name in enumerate(LEARNED)})
    notices = read_prepared(run(cells, splits=FOLDED)).stats.notices
    assert any("class 'wall' occurs in no mask of fold 0" in notice for notice in notices)


def test_the_seed_of_a_run_determines_its_fold(tmp_path: Path) -> None:
    params = read_params(write_folder_params(tmp_path, {"splits": {**FOLDED, "folds": 5}}))
    assert [params.cell("unet", 0.01, seed).fold for seed in (0, 4, 5, 13)] == [0, 4, 0, 3]
    assert params.cell("unet", 0.01, 7).name == "unet-0.01-7"
    without = read_params(write_folder_params(tmp_path, {"splits": {**FOLDED, "folds": None}}))
    assert without.cell("unet", 0.01, 7).fold is None


def test_selecting_a_fold_that_the_data_does_not_have_is_refused(cells: Path, run: Callable[..., Path]) -> None:
    plain = read_prepared(run(cells))
    with pytest.raises(PipelineError, match="has no folds, but fold 1 was expected"):
        plain.select_fold(1)
    assert plain.select_fold(None) is plain
    (cells / "splits.csv").unlink()
    folded = read_prepared(run(cells, splits=FOLDED))
    with pytest.raises(PipelineError, match="has 3 folds, but none was expected"):
        folded.select_fold(None)
    with pytest.raises(PipelineError, match="has 3 folds, but fold 3 was expected"):
        folded.select_fold(3)


@given(count=st.integers(6, 30), folds=st.integers(2, 5), data=st.data())
def test_folds_do_not_depend_on_the_order_of_images(count: int, folds: int, data: st.DataObject) -> None:
    names = [f"image{index}" for index in range(count)]
    groups = {name: f"group{index // 2}" for index, name in enumerate(names[: count // 3])}
    shuffled = data.draw(st.permutations(names))
    assert assign_folds([names], {}, groups, folds, 0, "") == assign_folds([shuffled], {}, groups, folds, 0, "")
