"""What the run key depends on."""

from __future__ import annotations

from pathlib import Path

import pytest
from ruamel.yaml import YAML

from pipeline.artifacts.weights_folder import HubFile, WeightsFolder
from pipeline.params import Params
from pipeline.params.file import read_params
from pipeline.train.run_key import CODE, compute_run_key
from tests.conftest import ROOT, write_params


def test_run_key_covers_the_code_that_makes_a_run_stale() -> None:
    stage = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]["train"]
    code = {path.removeprefix("pipeline/") for path in stage["deps"] if path.startswith("pipeline/")}
    assert {pattern.removesuffix("/*.py") for pattern in CODE} == code


@pytest.fixture
def params(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Params:
    """A project with a variant that starts from fetched weights."""
    monkeypatch.chdir(tmp_path)
    model = {"family": "smp", "architecture": "Unet", "encoder": "resnet18", "pretrained": True}
    return read_params(write_params(tmp_path, {"variants": {"resnet": {"model": model}}}))


def test_run_key_depends_on_the_normalization_of_fetched_weights(params: Params) -> None:
    keys = []
    for mean in (0.485, 0.5):
        fetched = HubFile(
            "smp", "smp-hub/resnet18", "0" * 40, "model.safetensors", "1" * 64, 1, None, (mean,) * 3, (1.0,) * 3
        )
        WeightsFolder(Path()).add_hub_file("resnet18", fetched)
        keys.append(compute_run_key(params.cell("resnet", 0.01, 0), "data", "float32"))
    assert keys[0] != keys[1]
