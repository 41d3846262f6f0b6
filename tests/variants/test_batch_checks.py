"""Batches that are too small for a network's normalization layers are refused before training."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.artifacts.prepared_data import PreparedData
from pipeline.artifacts.project import PREPARED, RUNS
from pipeline.artifacts.run_folder import RunFolder
from pipeline.errors import PipelineError
from pipeline.params import Cell, Params
from pipeline.params.file import read_params
from pipeline.train.train_cell import train_cell
from pipeline.variants.model_checks import check_batch
from tests.conftest import write_custom, write_params

CellWith = Callable[[dict[str, Any]], Cell]
UNET = {
    "family": "unet",
    "upsampling": "transpose",
    "skip_connections": "concat",
    "dropout": 0.0,
    "depth": 5,
    "base_channels": 8,
}
IN_TRAINING = """
from torch import nn

class Net(nn.Conv2d):
    def forward(self, x):
        if self.training and x.shape[-1] == 32:
            raise ValueError("too small to be trained")
        return super().forward(x)

def build(channels, classes):
    return Net(channels, classes, 1)
"""


def create_smp_model(architecture: str, encoder: str = "resnet18") -> dict[str, Any]:
    return {"family": "smp", "architecture": architecture, "encoder": encoder, "pretrained": False}


@pytest.fixture
def cell_with(params_with: Callable[[dict[str, Any]], Params]) -> CellWith:
    def create_cell(model: dict[str, Any]) -> Cell:
        params = params_with({"data": {"image_size": 64}, "variants": {"net": {"model": model}}})
        return params.cell("net", 0.01, 0)

    return create_cell


@pytest.mark.parametrize(
    ("model", "size"),
    [
        (create_smp_model("DeepLabV3Plus"), 64),
        (create_smp_model("UPerNet"), 64),
        ({**UNET, "norm": "batch"}, 32),
        (create_smp_model("Unet"), 32),
    ],
    ids=["pooling over the image", "pyramid pooling", "U-Net down to a pixel", "encoder down to a pixel"],
)
def test_one_training_image_with_one_value_per_channel_is_refused(
    model: dict[str, Any], size: int, cell_with: CellWith
) -> None:
    cell = cell_with(model)
    message = (
        rf"^variants\.net: model: training has 1 image per epoch, so train\.batch_size: 4 gives batches of 1 image of "
        rf"{size} × {size} px, .* only 1 value per channel .* Train on 2 images or more"
    )
    with pytest.raises(PipelineError, match=message):
        check_batch(cell, num_samples=1, size=(size, size), channels=3, classes=2)
    check_batch(cell, num_samples=2, size=(size, size), channels=3, classes=2)


@pytest.mark.parametrize(
    "model",
    [
        {**UNET, "norm": "batch", "depth": 2},
        {**UNET, "norm": "group"},
        {"family": "keras_pets"},
        create_smp_model("FPN"),
    ],
)
def test_one_training_image_with_more_values_per_channel_is_accepted(
    model: dict[str, Any], cell_with: CellWith
) -> None:
    check_batch(cell_with(model), num_samples=1, size=(64, 64), channels=3, classes=2)


def test_accepted_batches_of_two_images_can_be_trained(cell_with: CellWith) -> None:
    """The check accepts larger batches of built-in families without trying them."""
    from pipeline.models.factory import build_network

    for model in (
        create_smp_model("DeepLabV3Plus"),
        create_smp_model("UPerNet"),
        create_smp_model("PSPNet"),
        create_smp_model("PAN"),
    ):
        network = build_network(cell_with({**model}).model, channels=3, classes=2).train()
        size = 128 if model["architecture"] == "PAN" else 64
        assert network(torch.zeros(2, 3, size, size)).shape == (2, 2, size, size)


def test_custom_network_is_probed_in_training_mode_at_the_image_size(project: Path) -> None:
    write_custom(project, net=IN_TRAINING)
    model = {"family": "custom", "import_path": "custom.net:build", "size_multiple": 1}
    params = read_params(write_params(project, {"variants": {"mine": {"model": model}}, "grid": {"variant": ["mine"]}}))
    message = (
        r"^variants\.mine: model: .* images of 32 × 32 px: in training mode it raised ValueError \(too small to be"
    )
    with pytest.raises(PipelineError, match=message):
        train_cell(params.cells()[0])
    assert not (project / RUNS).exists()


def test_probe_does_not_change_the_training(project: Path) -> None:
    for name in (PreparedData.IMAGES, PreparedData.MASKS):
        path = project / PREPARED / "train" / name
        np.save(path, np.load(path)[:1])
    samples = project / PREPARED / PreparedData.SAMPLES
    header, *rows = samples.read_text().splitlines()
    kept = [row for row in rows if ",train," not in row]
    samples.write_text("\n".join([header, next(row for row in rows if ",train," in row), *kept]) + "\n")
    params = read_params(write_params(project, {}))
    cell = params.cell("unet", 0.01, 0)
    losses = []
    for _ in range(2):
        torch.rand(5)  # the initial state of the generator must not matter
        record = train_cell(cell)
        losses.append((project / RUNS / cell.name / RunFolder.HISTORY).read_text())
    assert record.status == "finished"
    assert losses[0] == losses[1]
