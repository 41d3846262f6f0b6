"""What users bring is prepared right, or refused: the masks of each kind of input are compared pixel by pixel."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from ruamel.yaml import YAML

from pipeline.artifacts.prepared_data import SHOWCASE, SPLITS, PreparedData
from pipeline.artifacts.project import PREPARED
from pipeline.cli import main
from tests.cases.inputs import CASES, NUMBERED, Case, make_pair, numbered_few, red_and_infrared, split_folders

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unmeasured: None) -> Path:
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "params.yaml", tmp_path)
    return tmp_path


def run(*arguments: object) -> Result:
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert isinstance(result.exception, SystemExit | None), result.exception
    return result


def read_section() -> dict[str, Any]:
    section: dict[str, Any] = YAML(typ="safe").load(Path("params.yaml").read_text())["data"]
    return section


def change_section(changes: dict[str, Any]) -> None:
    yaml = YAML()
    content = yaml.load(Path("params.yaml").read_text())
    content["data"].update(changes)
    with Path("params.yaml").open("w") as file:
        yaml.dump(content, file)


def read_splits() -> dict[str, str]:
    with (PREPARED / PreparedData.SAMPLES).open(encoding="utf-8", newline="") as file:
        return {row["id"]: row["split"] for row in csv.DictReader(file)}


def read_prepared(file: str = PreparedData.MASKS) -> dict[str, np.ndarray]:
    """Read the prepared arrays of all splits and the showcase, by id."""
    splits, found = read_splits(), {}
    for folder in (*SPLITS, SHOWCASE):
        ids = [name for name, split in splits.items() if split == folder]
        found.update(zip(ids, np.load(PREPARED / folder / file), strict=True))
    return found


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_input_of_each_kind_is_prepared_right_or_refused(case: Case, tmp_path: Path) -> None:
    truth = case.write(tmp_path / "cells")
    proposed = run("init", "cells")
    assert proposed.exit_code == (1 if case.refused_by == "init" else 0), proposed.output
    checked = run("data", "check", "cells")
    assert checked.exit_code == (1 if case.refused_by else 0), checked.output
    assert case.reported in proposed.output + checked.output
    if case.refused_by == "init":
        return
    assert read_section().items() >= case.section.items()
    if case.refused_by:
        assert run("prepare").exit_code == 1
        assert not PREPARED.exists()
        change_section(case.changes)
    assert (prepared := run("prepare")).exit_code == 0, prepared.output
    masks = read_prepared()
    assert masks.keys() == truth.keys()
    for name, mask in masks.items():
        np.testing.assert_array_equal(mask, truth[name], err_msg=name)


def test_numbered_objects_few_become_insides_and_borders(tmp_path: Path) -> None:
    truth = numbered_few(tmp_path / "cells")
    assert run("init", "cells").exit_code == 0
    change_section(NUMBERED)
    assert run("prepare").exit_code == 0
    for name, mask in read_prepared().items():
        objects = len(np.unique(truth[name])) - 1
        assert (mask == 1).sum() == objects * 4 * 4  # of 8 x 8 px, 2 px at each side are border
        assert ((mask > 0) == (truth[name] > 0)).all()


def test_infrared_band_is_kept_or_left_out_and_never_multiplied(tmp_path: Path) -> None:
    red_and_infrared(tmp_path / "cells")
    assert run("init", "cells").exit_code == 0
    assert run("prepare").exit_code == 0
    for name, image in read_prepared(PreparedData.IMAGES).items():
        np.testing.assert_array_equal(image[..., :3], make_pair(int(name))[0])
        assert image.shape[-1] == 4
    change_section({"channels": 3})
    assert run("prepare").exit_code == 0
    for name, image in read_prepared(PreparedData.IMAGES).items():
        np.testing.assert_array_equal(image, make_pair(int(name))[0])


def test_split_folders_are_the_splits(tmp_path: Path) -> None:
    split_folders(tmp_path / "cells")
    assert run("init", "cells").exit_code == 0
    assert run("prepare").exit_code == 0
    meaning = {"train": ("train", "showcase"), "val": ("validation",), "test": ("test",)}
    assert all(split in meaning[name.partition("__")[0]] for name, split in read_splits().items())


@pytest.mark.parametrize("name", ["negatives", "void_images"])
def test_showcase_that_is_chosen_has_foreground(name: str, tmp_path: Path) -> None:
    CASES[name].write(tmp_path / "cells")
    assert run("init", "cells").exit_code == 0
    for seed in range(6):
        change_section({"seed": seed})
        assert run("prepare").exit_code == 0
        assert (np.load(PREPARED / SHOWCASE / PreparedData.MASKS) == 1).any()


def test_masks_by_hand_with_an_ignored_value_that_is_foreground_are_reported(tmp_path: Path) -> None:
    CASES["mixed_binary"].write(tmp_path / "cells")
    assert run("init", "cells").exit_code == 0
    classes = [{**item, "mask_value": value} for item, value in zip(read_section()["classes"], (0, 1), strict=True)]
    change_section({"classes": classes, "ignore_value": 255})
    assert "17 masks hold ignored pixels and no foreground, and none holds both" in run("data", "check", "cells").output
