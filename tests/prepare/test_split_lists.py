"""Published lists of splits: what they assign, and the message for each error."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.artifacts.prepared_data import PreparedData
from pipeline.params.file import read_params
from tests.prepare.conftest import NAMES, read_samples, write_folder_params

SPLITS = {"validation": 0.25, "test": 0.25}
LISTS = "lists/{train,val,test}.txt"


@pytest.fixture
def write_lists(cells: Path) -> Callable[..., Path]:
    """Return a function that writes the lists of names, instead of splits.csv."""

    def write(**names: list[str]) -> Path:
        (cells / "splits.csv").unlink()
        (cells / "lists").mkdir()
        for split, lines in names.items():
            (cells / f"lists/{split}.txt").write_text("".join(f"{line}\n" for line in lines))
        return cells

    return write


def count_splits(prepared: Path) -> dict[str, int]:
    splits = [row["split"] for row in read_samples(prepared).values()]
    return {split: splits.count(split) for split in set(splits)}


@pytest.mark.parametrize(
    "line",
    ["{}", "{}.png", "images/{}.png", "./images/{}.png", "/SegNet/images/{}.png /SegNet/masks/{}_mask.png", "{} 1",
     "{} 37 2 25", "{}\tcell"],
)  # fmt: skip
def test_lines_name_images_by_id_or_path(write_lists: Callable[..., Path], run: Callable[..., Path], line: str) -> None:
    lines = [line.replace("{}", name) for name in NAMES]
    folder = write_lists(train=lines[:6], val=lines[6:8], test=lines[8:11])
    prepared = run(folder, splits={**SPLITS, "split_lists": LISTS})
    assert count_splits(prepared) == {"train": 5, "validation": 2, "test": 3, "showcase": 1}
    notices = json.loads((prepared / PreparedData.STATS).read_text())["notices"]
    assert any("1 image is in no list" in notice for notice in notices)
    assert NAMES[11] not in read_samples(prepared)


def rename(folder: Path, new_name: str) -> list[str]:
    """Rename the images and masks of the cells; {} in the new name is the number. Return the new names."""
    names = [new_name.replace("{}", name.removeprefix("cell")) for name in NAMES]
    for old, name in zip(NAMES, names, strict=True):
        for kind in ("images", "masks"):
            path = folder / kind / f"{name}.png"
            path.parent.mkdir(exist_ok=True)
            (folder / kind / f"{old}.png").rename(path)
    return names


@pytest.mark.parametrize("line", ["{}", "{}.png", "images/{}.png", "/data/my cells/images/{}.png"])
@pytest.mark.parametrize("new_name", ["slide {}", "slide ({}) of 12", "day 2/slide {}"])
def test_lines_may_contain_spaces(
    write_lists: Callable[..., Path], run: Callable[..., Path], line: str, new_name: str
) -> None:
    folder = write_lists()
    names = rename(folder, new_name)
    for kind in ("images", "masks"):  # in no list, but it has the name of all lines up to a space
        shutil.copy(folder / kind / f"{names[0]}.png", folder / kind / "slide.png")
    lines = [line.replace("{}", name) for name in names]
    for split, part in (("train", lines[:6]), ("val", lines[6:8]), ("test", lines[8:11])):
        (folder / f"lists/{split}.txt").write_text("\n".join(part))
    samples = read_samples(run(folder, splits={**SPLITS, "split_lists": LISTS}, showcase_ids=None))
    assert sorted(samples) == sorted(name.replace("/", "__") for name in names[:11])


@pytest.mark.parametrize("line", ["cell0 14.png", "cell0 14", "cell0 (copy)"])
def test_line_with_a_space_is_not_taken_for_another_image(
    write_lists: Callable[..., Path], get_prepare_error: Callable[..., str], line: str
) -> None:
    folder = write_lists(train=[line, *NAMES[1:6]], val=NAMES[6:8], test=NAMES[8:])
    message = get_prepare_error(folder, splits={**SPLITS, "split_lists": LISTS})
    assert f"1 of 12 lines name no image, or several: {line}." in message


def test_without_a_test_list_half_of_the_validation_list_is_for_testing(
    write_lists: Callable[..., Path], run: Callable[..., Path]
) -> None:
    folder = write_lists(train=NAMES[:6], val=NAMES[6:])
    prepared = run(folder, splits={**SPLITS, "split_lists": "lists/{train,val}.txt"})
    assert count_splits(prepared) == {"train": 5, "validation": 3, "test": 3, "showcase": 1}


def test_first_fold_of_nnunet_is_used(write_lists: Callable[..., Path], run: Callable[..., Path]) -> None:
    folder = write_lists()
    folds = [{"train": NAMES[:8], "val": NAMES[8:]}, {"train": NAMES[4:], "val": NAMES[:4]}]
    (folder / "splits_final.json").write_text(json.dumps(folds))
    prepared = run(folder, splits={**SPLITS, "split_lists": "splits_final.json"})
    assert count_splits(prepared) == {"train": 7, "validation": 2, "test": 2, "showcase": 1}


def test_all_folds_of_nnunet_are_used_with_cross_validation(
    write_lists: Callable[..., Path], run: Callable[..., Path], get_prepare_error: Callable[..., str]
) -> None:
    folder = write_lists()
    for kind in ("images", "masks"):
        (folder / kind / "test").mkdir()
        for name in NAMES[8:]:
            (folder / kind / f"{name}.png").rename(folder / kind / "test" / f"{name}.png")
    folds = [{"train": [], "val": NAMES[start:8:2]} for start in range(2)]
    (folder / "splits_final.json").write_text(json.dumps(folds))
    splits = {**SPLITS, "split_lists": "splits_final.json", "folds": 2}
    assert "has 2 folds, but data.splits.folds is 3" in get_prepare_error(folder, splits={**splits, "folds": 3})
    samples = read_samples(run(folder, splits=splits))
    for name, row in samples.items():
        if row["split"] == "train":
            assert row["fold"] == str(NAMES.index(name) % 2)
        else:
            assert row["fold"] == ""
    assert sum(row["split"] == "test" for row in samples.values()) == 4


ERRORS: dict[str, tuple[dict[str, list[str]], str, str]] = {
    "unknown": ({"train": [*NAMES, "cell99"]}, LISTS, "1 of 13 lines name no image, or several: cell99"),
    "traversal": ({"train": ["../../etc/passwd"]}, LISTS, "name no image, or several: ../../etc/passwd"),
    "twice": ({"train": NAMES, "val": NAMES[3:4]}, LISTS, "cell3 in the lists of two splits"),
    "none": ({}, LISTS, "contains no lists that match 'lists/{train,val,test}.txt'"),
    "not a split": ({"default": NAMES}, "lists/*.txt", "default.txt is not named like a split"),
    "no JSON": ({}, "splits_final.json", "splits_final.json does not exist"),
}


@pytest.mark.parametrize(("lists", "pattern", "message"), ERRORS.values(), ids=ERRORS.keys())
def test_errors_in_lists_are_reported(
    write_lists: Callable[..., Path],
    get_prepare_error: Callable[..., str],
    lists: dict[str, list[str]],
    pattern: str,
    message: str,
) -> None:
    folder = write_lists(**lists)
    assert message in get_prepare_error(folder, splits={**SPLITS, "split_lists": pattern})


def test_unreadable_folder_of_lists_is_an_error(
    write_lists: Callable[..., Path], run: Callable[..., Path], deny_reading: Callable[[Path], None]
) -> None:
    folder = write_lists(train=NAMES[:6], val=NAMES[6:8], test=NAMES[8:])
    (folder / "lists/more").mkdir()
    deny_reading(folder / "lists/more")
    with pytest.raises(PermissionError, match="lists/more"):
        run(folder, splits={**SPLITS, "split_lists": "lists/**/{train,val,test}.txt"})


@pytest.mark.parametrize("content", ["{", "[]", "[1]", '[{"train": [1], "val": []}]', '{"train": []}', "[" * 100_000])
def test_invalid_folds_are_reported(
    write_lists: Callable[..., Path], get_prepare_error: Callable[..., str], content: str
) -> None:
    folder = write_lists()
    (folder / "splits_final.json").write_text(content)
    message = get_prepare_error(folder, splits={**SPLITS, "split_lists": "splits_final.json"})
    assert "splits_final.json cannot be read" in message


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"split_lists": "../{train,val}.txt"}, "must be a path below the folder"),
        ({"split_lists": "../splits.json"}, "must be a file in the folder"),
        ({"split_lists": "lists/train.txt"}, "must have a wildcard"),
        (
            {"split_lists": LISTS, "split_file": {"file": "a.csv", "id": "a", "split": "b", "group": None}},
            "has both split_file and split_lists",
        ),
    ],
)
def test_invalid_settings_are_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    path = write_folder_params(tmp_path, {"splits": {**SPLITS, **changes}})
    with pytest.raises(Exception, match=r"data\.splits") as error:
        read_params(path)
    assert message in str(error.value)
