"""Setting a value of `params.yaml` with DVC leaves every other line unchanged."""

from __future__ import annotations

import difflib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from dvc.utils.hydra import apply_overrides
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from ruamel.yaml import YAML

from pipeline.cli import main
from pipeline.params.file import read_params
from pipeline.params.yaml_document import format_like_dvc
from pipeline.study.compose import compose, find_preset, list_presets
from tests.conftest import ROOT

STAGE = (
    "stages:\n  copy:\n    cmd: cp params.yaml copy.yaml\n    params: [train, variants, grid]\n    outs: [copy.yaml]\n"
)


def list_changed_lines(before: str, path: Path, *overrides: str) -> list[str]:
    """Set values with DVC's functions and list the lines that differ, each with its sign."""
    path.write_text(before, encoding="utf-8")
    apply_overrides(path, list(overrides))
    compared = difflib.ndiff(before.splitlines(), path.read_text(encoding="utf-8").splitlines())
    return [line for line in compared if line.startswith(("+ ", "- "))]


def changes_epochs_only(text: str, path: Path) -> bool:
    lines = list_changed_lines(text, path, "train.epochs=997")
    return len(lines) == 2 and all(line[1:].strip().startswith("epochs:") for line in lines)


def test_dvc_changes_one_line_of_the_shipped_params(tmp_path: Path) -> None:
    shipped = (ROOT / "params.yaml").read_text(encoding="utf-8")
    assert changes_epochs_only(shipped, tmp_path / "params.yaml")
    lines = list_changed_lines(shipped, tmp_path / "params.yaml", "grid.learning_rate=[0.01,0.001]")
    assert [line.strip() for line in lines if line[0] == "-"] == ["-   - 4e-3", "-   - 4e-4"]
    assert [line.strip() for line in lines if line[0] == "+"] == ["+   - 0.01", "+   - 0.001"]


@pytest.mark.parametrize("name", [preset.name for preset in list_presets(ROOT)])
def test_dvc_changes_one_line_of_a_study(tmp_path: Path, name: str) -> None:
    assert changes_epochs_only(compose(find_preset(name, ROOT), ROOT).text, tmp_path / "params.yaml")


def write_images(folder: Path, kind: str) -> None:
    """Write images and masks; `kind` is binary, ignored (an ignored value), colors or gray (grayscale images)."""
    bands = np.arange(48) * 3 // 48
    values = {"ignored": [0, 1, 255], "colors": [0, 1, 2]}.get(kind, [0, 255, 255])
    for index in range(24):
        rng = np.random.default_rng(index)
        image = rng.integers(0, 255, (40, 48, 3), np.uint8)
        mask = np.roll(np.tile(np.array(values, np.uint8)[bands], (40, 1)), index, axis=1)
        saved_mask = np.array([[0, 0, 0], [255, 0, 0], [0, 128, 64]], np.uint8)[mask] if kind == "colors" else mask
        gray = rng.integers(0, 65535, (40, 48), np.uint16)
        for name, array in (("images", gray if kind == "gray" else image), ("masks", saved_mask)):
            (folder / name).mkdir(parents=True, exist_ok=True)
            Image.fromarray(array).save(folder / name / f"slide{index // 4}_{index:02}.png")


@pytest.mark.usefixtures("skip_grid_timing")
@pytest.mark.parametrize("kind", ["binary", "ignored", "colors", "gray"])
def test_dvc_changes_one_line_of_params_written_by_init(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "params.yaml", tmp_path)
    folder = tmp_path / "a long name of a folder, with spaces and an ümlaut" / 'müller\'s cells (2024): "first" slides'
    write_images(folder, kind)
    result = CliRunner().invoke(main, ["init", str(folder)])
    assert result.exit_code == 0, result.output
    assert read_params().data.path == str(folder)
    text = Path("params.yaml").read_text(encoding="utf-8")
    assert "of the pixels, in 24 of 24 masks" in text
    assert changes_epochs_only(text, Path("params.yaml"))
    assert list_changed_lines(text, Path("params.yaml")) == []


def test_init_keeps_the_comment_of_the_variant_list(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, skip_grid_timing: None
) -> None:
    monkeypatch.chdir(tmp_path)
    shipped = (ROOT / "params.yaml").read_text(encoding="utf-8")
    edited = shipped.replace(
        "  variant:\n  - unet\n  - lite0\n  - lite0_20_images\n", "  variant: [unet, lite0]  # mine\n"
    )
    assert edited != shipped
    for before in (edited, edited.replace(": [unet, lite0]  # mine", ":  # mine\n  - unet\n  - lite0")):
        (tmp_path / "params.yaml").write_text(before, encoding="utf-8")
        write_images(tmp_path / "cells", "gray")
        assert CliRunner().invoke(main, ["init", "cells"]).exit_code == 0
        assert "  variant:  # mine\n  - unet\n  learning_rate:\n" in (tmp_path / "params.yaml").read_text("utf-8")


LETTERS = st.characters(categories=["L", "N"], include_characters=" #-'\"_./,[]")
scalars = st.one_of(st.none(), st.booleans(), st.integers(), st.text(LETTERS, max_size=99))
keys = st.text(st.characters(categories=["Ll"]), min_size=1, max_size=8)
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3))


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.dictionaries(keys, values, min_size=1, max_size=4))
def test_format_like_dvc_keeps_values_and_is_stable(tmp_path: Path, content: dict[str, Any]) -> None:
    path = tmp_path / "any.yaml"
    formatted = format_like_dvc(json.dumps(content, ensure_ascii=False) + "\n")  # JSON is YAML
    assert YAML(typ="safe").load(formatted) == content
    assert list_changed_lines(formatted, path) == []


def test_format_like_dvc_keeps_values_that_dvc_cannot_write() -> None:
    text = 'path: "a\\x85b"\nother: null\n'
    assert format_like_dvc(text) == text
    assert format_like_dvc('a: {a: ":0"}\n') == 'a: {a: ":0"}\n'
    assert YAML(typ="safe").load(text)["path"] == "a\x85b"


@pytest.mark.process
def test_dvc_experiment_changes_only_the_lines_it_sets(tmp_path: Path) -> None:
    """DVC sets an existing value, then adds a variant to `variants` and to the grid."""
    shutil.copy(ROOT / "params.yaml", tmp_path)
    (tmp_path / "dvc.yaml").write_text(STAGE, encoding="utf-8")

    def run(*command: str) -> str:
        identity = [f"GIT_{who}_{what}" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")]
        environment = {**os.environ, **dict.fromkeys(identity, "tester"), "DVC_NO_ANALYTICS": "true"}
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def diff() -> list[str]:
        lines = run("git", "diff", "--unified=0", "params.yaml").splitlines()
        return [line for line in lines if line.startswith(("+ ", "- "))]

    dvc = (sys.executable, "-m", "dvc")
    run("git", "init", "--quiet")
    run(*dvc, "init", "--quiet")
    run("git", "add", ".")
    run("git", "commit", "--quiet", "--message", "Begin")
    run(*dvc, "exp", "run", "--set-param", "train.epochs=3")
    assert [line.split("#")[0].split() for line in diff()] == [["-", "epochs:", "8"], ["+", "epochs:", "3"]]
    run("git", "checkout", "--quiet", "params.yaml")
    run(*dvc, "exp", "run", "-S", "+variants.wide.model.base_channels=32", "-S", "grid.variant=[unet,wide]")
    added = [line[1:].strip() for line in diff() if line[0] == "+"]
    assert added == ["wide:", "model:", "base_channels: 32", "- wide"]
    assert read_params(tmp_path / "params.yaml").grid.variant == ["unet", "wide"]
