"""`pipeline variants`: a row for each variant, also where there is no network to measure."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from pipeline.cli import main
from pipeline.errors import PipelineError
from tests.conftest import ROOT, write_params

VARIANTS: dict[str, Any] = {
    "unet_40": {"data": {"max_train_images": 10}, "train": {"epochs": 4, "augmentation": None}},
    "pan": {"model": {"family": "smp", "architecture": "PAN", "encoder": "resnet18", "pretrained": False}},
    "lost": {"model": {"family": "smp", "architecture": "FPN", "encoder": "resnet43", "pretrained": False}},
    "mine": {"model": {"family": "custom", "import_path": "not_here:build", "size_multiple": 1}},
    "deep": {"model": {"depth": 6}},
}


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out what takes seconds per variant; test_training_memory.py has it."""
    monkeypatch.setattr("pipeline.sweep.training_memory.measure_process", lambda cell, data: 1_234_000_000)


def listed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    monkeypatch.chdir(folder)
    result = CliRunner().invoke(main, ["variants"], catch_exceptions=False)
    assert result.exit_code == 0
    return {line.split()[0]: line for line in result.output.splitlines()}


def test_each_variant_has_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_params(tmp_path, {"variants": VARIANTS, "grid": {"variant": ["unet", "unet_40"]}})
    lines = listed(tmp_path, monkeypatch)
    assert {"variant", "unet", "unet_no_skip", "lite0", "keras_pets", *VARIANTS} == set(lines)
    assert lines["unet"].split()[1] == "unet"
    assert lines["unet"].endswith("yes")
    assert lines["unet_no_skip"].endswith("no    skip_connections: none")
    assert lines["unet_40"].endswith("yes   augmentation: null, epochs: 4, max_train_images: 10")
    assert lines["unet_40"].split()[2:7] == lines["unet"].split()[2:7]  # the same network and batch
    assert lines["keras_pets"].split()[2] == "2,055,203"
    assert "1,234 MB" in lines["unet"]


def test_a_training_that_cannot_be_measured_says_why_beside_what_its_network_costs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> int:
        raise PipelineError("the process was killed.")

    monkeypatch.setattr("pipeline.sweep.training_memory.measure_process", killed)
    write_params(tmp_path, {"grid": {"variant": ["unet"]}})
    row = listed(tmp_path, monkeypatch)["unet"]
    assert row.endswith("-  yes   the process was killed.")
    assert " MB " in row


def test_a_network_that_cannot_be_had_says_why_in_its_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_params(tmp_path, {"variants": VARIANTS, "grid": {"variant": ["unet"]}})
    lines = listed(tmp_path, monkeypatch)
    assert lines["pan"].endswith("-  no    data.image_size: must be at least 128 for PAN, but is 32.")
    assert "did you mean resnet34?" in lines["lost"]
    assert "model.import_path: there is no module 'not_here'" in lines["mine"]
    assert "must be a multiple of 64 for this network, but is 32" in lines["deep"]


def parameters(folder: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    return int(listed(folder, monkeypatch)["unet"].split()[2].replace(",", ""))


def test_the_bundled_data_is_listed_alike_before_and_after_it_is_prepared(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_params(tmp_path, {})
    before = listed(tmp_path, monkeypatch)
    assert listed(project, monkeypatch) == before
    classes = json.loads((project / "data/prepared/classes.json").read_text(encoding="utf-8"))
    classes["classes"] = classes["classes"][:2]
    (project / "data/prepared/classes.json").write_text(json.dumps(classes), encoding="utf-8")
    # A row of the last 1 x 1 convolution, from the 4 base channels, and its bias.
    assert int(before["unet"].split()[2].replace(",", "")) - parameters(project, monkeypatch) == 4 + 1


def test_channels_and_classes_of_a_folder_are_those_of_the_parameters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (ROOT / "params.yaml").read_text(encoding="utf-8")
    start, end = text.index("data:"), text.index("model:  ")
    data = """data:
  source: image_mask_folder
  path: pictures
  image_size: 32
  resize: stretch
  classes:
    - {name: cat, mask_value: 1, color: "#e69f00", foreground: true}
    - {name: rest, mask_value: 0, color: "#000000", foreground: false}
  ignore_value: null
  splits: {validation: 0.2, test: 0.2}
  showcase_ids: null
  seed: 0
  max_train_images: null
"""
    (tmp_path / "params.yaml").write_text(text[:start] + data + text[end:], encoding="utf-8")
    two = parameters(tmp_path, monkeypatch)
    more = data.replace("  resize:", "  channels: 5\n  resize:")
    (tmp_path / "params.yaml").write_text(text[:start] + more + text[end:], encoding="utf-8")
    # A 3 x 3 filter for each channel more, to each of the 16 base channels.
    assert parameters(tmp_path, monkeypatch) - two == (5 - 3) * 16 * 3 * 3
    (tmp_path / "params.yaml").write_text(text, encoding="utf-8")
    assert parameters(tmp_path, monkeypatch) - two == 16 + 1
