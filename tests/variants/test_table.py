"""`pipeline variants`: a row for each variant, also for networks that cannot be built."""

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
def _skip_measuring(monkeypatch: pytest.MonkeyPatch) -> None:
    """Skip the measurement, which takes seconds per variant; test_training_memory.py tests it."""
    monkeypatch.setattr("pipeline.sweep.training_memory.measure_process", lambda cell, data: 1_234_000_000)


def list_variants(folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    monkeypatch.chdir(folder)
    result = CliRunner().invoke(main, ["variants"], catch_exceptions=False)
    assert result.exit_code == 0
    return {line.split()[0]: line for line in result.output.splitlines()}


def test_every_variant_has_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_params(tmp_path, {"variants": VARIANTS, "grid": {"variant": ["unet", "unet_40"]}})
    lines = list_variants(tmp_path, monkeypatch)
    assert {"variant", "unet", "unet_no_skip", "lite0_20_images", "lite0", "keras_pets", *VARIANTS} == set(lines)
    assert lines["unet"].split()[1] == "unet"
    assert lines["unet"].endswith("yes")
    assert lines["unet_no_skip"].endswith("no    skip_connections: none")
    assert lines["unet_40"].endswith("yes   augmentation: null, epochs: 4, max_train_images: 10")
    assert lines["unet_40"].split()[2:7] == lines["unet"].split()[2:7]  # the same network and batch
    assert lines["keras_pets"].split()[2] == "2,055,203"
    assert "1,234 MB" in lines["unet"]


def test_training_that_cannot_be_measured_has_its_reason_in_the_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def raise_killed(*_: object) -> int:
        raise PipelineError("the process was killed.")

    monkeypatch.setattr("pipeline.sweep.training_memory.measure_process", raise_killed)
    write_params(tmp_path, {"grid": {"variant": ["unet"]}})
    row = list_variants(tmp_path, monkeypatch)["unet"]
    assert row.endswith("-  yes   the process was killed.")
    assert " MB " in row


def test_network_that_cannot_be_built_has_its_reason_in_the_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_params(tmp_path, {"variants": VARIANTS, "grid": {"variant": ["unet"]}})
    lines = list_variants(tmp_path, monkeypatch)
    assert lines["pan"].endswith("-  no    data.image_size: must be at least 128 for PAN, but is 32.")
    assert "did you mean resnet34?" in lines["lost"]
    assert "model.import_path: module 'not_here' is neither in the project's folder nor installed" in lines["mine"]
    assert "must be at least 64 for this network, but is 32" in lines["deep"]


def count_parameters(folder: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    return int(list_variants(folder, monkeypatch)["unet"].split()[2].replace(",", ""))


def test_table_is_the_same_before_and_after_prepare(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_params(tmp_path, {})
    before = list_variants(tmp_path, monkeypatch)
    assert list_variants(project, monkeypatch) == before
    classes = json.loads((project / "data/prepared/classes.json").read_text(encoding="utf-8"))
    classes["classes"] = classes["classes"][:2]
    (project / "data/prepared/classes.json").write_text(json.dumps(classes), encoding="utf-8")
    # One class less in the last 1 x 1 convolution: 4 weights and a bias.
    assert int(before["unet"].split()[2].replace(",", "")) - count_parameters(project, monkeypatch) == 4 + 1


def test_channels_and_classes_of_a_folder_are_those_of_the_params(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (ROOT / "params.yaml").read_text(encoding="utf-8")
    start, end = text.index("data:"), text.index("model:  ")
    data = """data:
  source: image_mask_folder
  path: images
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
    two = count_parameters(tmp_path, monkeypatch)
    more = data.replace("  resize:", "  channels: 5\n  resize:")
    (tmp_path / "params.yaml").write_text(text[:start] + more + text[end:], encoding="utf-8")
    # Each additional channel has a 3 x 3 filter for each of the 16 base channels.
    assert count_parameters(tmp_path, monkeypatch) - two == (5 - 3) * 16 * 3 * 3
    (tmp_path / "params.yaml").write_text(text, encoding="utf-8")
    assert count_parameters(tmp_path, monkeypatch) - two == 16 + 1
