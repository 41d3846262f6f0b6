"""Inputs with faults of real data sets are prepared correctly or refused; masks are compared pixel by pixel."""

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
from tests.cases.inputs import (
    CASES,
    NUMBERED,
    Case,
    make_pair,
    write_numbered_few,
    write_red_and_infrared,
    write_split_folders,
)

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, skip_grid_timing: None) -> Path:
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "params.yaml", tmp_path)
    return tmp_path


def run_pipeline(*arguments: object) -> Result:
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
    arrays: dict[str, np.ndarray] = {}
    for folder in (*SPLITS, SHOWCASE):
        split = PreparedData(PREPARED).open_split(folder)
        stack = split.images if file == PreparedData.IMAGES else split.masks
        arrays.update(zip(split.ids, stack, strict=True))
    return arrays


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_each_input_is_prepared_correctly_or_refused(case: Case, tmp_path: Path) -> None:
    truth = case.write(tmp_path / "cells")
    init_result = run_pipeline("init", "cells")
    assert init_result.exit_code == (1 if case.refused_by == "init" else 0), init_result.output
    check_result = run_pipeline("data", "check", "cells")
    assert check_result.exit_code == (1 if case.refused_by else 0), check_result.output
    assert case.reported in init_result.output + check_result.output
    if case.refused_by == "init":
        return
    assert read_section().items() >= case.section.items()
    if case.refused_by:
        assert run_pipeline("prepare").exit_code == 1
        assert not PREPARED.exists()
        change_section(case.changes)
    assert (prepare_result := run_pipeline("prepare")).exit_code == 0, prepare_result.output
    masks = read_prepared()
    assert masks.keys() == truth.keys()
    for name, mask in masks.items():
        np.testing.assert_array_equal(mask, truth[name], err_msg=name)


def test_few_numbered_objects_become_insides_and_borders(tmp_path: Path) -> None:
    truth = write_numbered_few(tmp_path / "cells")
    assert run_pipeline("init", "cells").exit_code == 0
    change_section(NUMBERED)
    assert run_pipeline("prepare").exit_code == 0
    for name, mask in read_prepared().items():
        objects = len(np.unique(truth[name])) - 1
        assert (mask == 1).sum() == objects * 4 * 4  # 8 x 8 px without a border of 2 px
        assert ((mask > 0) == (truth[name] > 0)).all()


def test_infrared_band_is_kept_or_dropped_and_never_applied_as_alpha(tmp_path: Path) -> None:
    write_red_and_infrared(tmp_path / "cells")
    assert run_pipeline("init", "cells").exit_code == 0
    assert run_pipeline("prepare").exit_code == 0
    for name, image in read_prepared(PreparedData.IMAGES).items():
        np.testing.assert_array_equal(image[..., :3], make_pair(int(name))[0])
        assert image.shape[-1] == 4
    change_section({"channels": 3})
    assert run_pipeline("prepare").exit_code == 0
    for name, image in read_prepared(PreparedData.IMAGES).items():
        np.testing.assert_array_equal(image, make_pair(int(name))[0])


def test_split_folders_define_the_splits(tmp_path: Path) -> None:
    write_split_folders(tmp_path / "cells")
    assert run_pipeline("init", "cells").exit_code == 0
    assert run_pipeline("prepare").exit_code == 0
    expected_splits = {"train": ("train", "showcase"), "val": ("validation",), "test": ("test",)}
    assert all(split in expected_splits[name.partition("__")[0]] for name, split in read_splits().items())


@pytest.mark.parametrize("name", ["negatives", "void_images"])
def test_selected_showcase_has_foreground(name: str, tmp_path: Path) -> None:
    CASES[name].write(tmp_path / "cells")
    assert run_pipeline("init", "cells").exit_code == 0
    for seed in range(6):
        change_section({"seed": seed})
        assert run_pipeline("prepare").exit_code == 0
        assert (np.load(PREPARED / SHOWCASE / PreparedData.MASKS) == 1).any()


def test_check_reports_an_ignored_value_that_is_foreground(tmp_path: Path) -> None:
    CASES["mixed_binary"].write(tmp_path / "cells")
    assert run_pipeline("init", "cells").exit_code == 0
    classes = [{**item, "mask_value": value} for item, value in zip(read_section()["classes"], (0, 1), strict=True)]
    change_section({"classes": classes, "ignore_value": 255})
    assert (
        "17 masks contain ignored pixels but no foreground, and no mask contains both"
        in run_pipeline("data", "check", "cells").output
    )
