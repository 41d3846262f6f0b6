"""Training from weights: the record, the run key, and agreement of everything that loads the run."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from pipeline.artifacts.prepared_data import PreparedData
from pipeline.artifacts.project import PREPARED, Project
from pipeline.artifacts.run_folder import RunFolder
from pipeline.errors import PipelineError
from pipeline.inference.trained_run import TrainedRun
from pipeline.models.factory import build_network
from pipeline.params import Params
from pipeline.params.file import read_params
from pipeline.params.model import SmpModel
from pipeline.promote.onnx_export import export_onnx, measure_agreement
from pipeline.tracking.tags import create_result_tags
from pipeline.train.run_key import compute_run_key, is_current
from pipeline.train.train_cell import train_cell
from tests.conftest import TRAINED, write_params

FILE = "weights/encoder.safetensors"
ENCODER: dict[str, Any] = {"family": "smp", "architecture": "Unet", "encoder": "mobilenetv3_small_050"}


def read_variants(project: Path) -> Params:
    variants = {
        "encoder": {"model": {**ENCODER, "pretrained": FILE}},
        "again": {"model": {"pretrained": f"weights/{TRAINED}.safetensors"}},
        "small": {"model": {**ENCODER, "pretrained": False}},
    }
    return read_params(write_params(project, {"variants": variants, "train": {"epochs": 1}}))


@pytest.fixture
def params(project: Path) -> Params:
    """A project with a file of an encoder in `weights/`."""
    (project / "weights").mkdir()
    network = build_network(SmpModel.model_validate({**ENCODER, "pretrained": False}), 3, 3)
    encoder = network[1].get_submodule("encoder").state_dict()
    save_file({name: tensor.contiguous() for name, tensor in encoder.items()}, FILE)
    return read_variants(project)


def test_run_records_its_initial_weights(params: Params, project: Path) -> None:
    record = train_cell(params.cell("encoder", 0.01, 0))
    assert record.weights is not None
    assert (record.weights.source, record.weights.license, record.weights.notes) == (FILE, None, ())
    assert RunFolder(project / "runs/encoder-0.01-0").record == record
    assert create_result_tags(record, None)["pipeline.weights"] == (
        f"{FILE}, SHA-256 {record.weights.sha256}, license unknown"
    )


def test_run_from_random_weights_has_no_weights_tag(trained: Path) -> None:
    record = RunFolder(trained / "runs" / TRAINED).record
    assert record.weights is None
    assert "pipeline.weights" not in create_result_tags(record, None)


def test_record_without_weights_is_readable(trained: Path, tmp_path: Path) -> None:
    """Runs that were trained before the field existed."""
    record = RunFolder(trained / "runs" / TRAINED).record
    content = asdict(record)
    del content["weights"]
    (tmp_path / "run.json").write_text(json.dumps(content))
    assert RunFolder(tmp_path).record == record


def test_normalization_of_a_run_is_that_of_its_weights_everywhere(params: Params, project: Path) -> None:
    train_cell(params.cell("encoder", 0.01, 0))
    (project / FILE).unlink()  # the run needs it no longer
    weights = load_file(project / "runs/encoder-0.01-0/model.safetensors")
    torch.testing.assert_close(weights["0.mean"].flatten(), torch.tensor([0.485, 0.456, 0.406]))
    trained = TrainedRun.load(params, "encoder-0.01-0", Project(project))
    images = torch.rand(1, 3, 32, 32)
    expected = (images - weights["0.mean"]) / weights["0.std"]
    torch.testing.assert_close(trained.network[0](images), expected)  # type: ignore[index]
    export_onnx(trained, project / "network.onnx")
    validation = PreparedData(project / PREPARED).open_split("validation")
    assert measure_agreement(trained, project / "network.onnx", validation) > 0.98


def test_run_key_depends_on_the_content_of_the_file(params: Params, project: Path) -> None:
    cell, other = params.cell("encoder", 0.01, 0), params.cell("small", 0.01, 0)
    train_cell(cell)
    before = compute_run_key(other, "f00", "float32")
    assert is_current(cell, Project(project))
    tensors = load_file(FILE)
    save_file({**tensors, "fc.weight": torch.zeros(1)}, FILE)
    assert not is_current(cell, Project(project))
    assert compute_run_key(other, "f00", "float32") == before


def test_run_starts_from_another_run(params: Params, project: Path, trained: Path) -> None:
    copy = project / f"weights/{TRAINED}.safetensors"
    shutil.copy(trained / "runs" / TRAINED / "model.safetensors", copy)
    cell = params.cell("again", 0.01, 0)
    network = build_network(cell.model, 3, 3)
    assert all(torch.equal(tensor, load_file(copy)[name]) for name, tensor in network.state_dict().items())
    record = train_cell(cell)
    assert record.weights is not None
    assert record.weights.source == f"weights/{TRAINED}.safetensors"
    copy.unlink()
    with pytest.raises(PipelineError, match=rf"{copy.name} does not exist; weights/ has {FILE}"):
        train_cell(cell)
