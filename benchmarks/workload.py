"""What the speed benchmarks train: the networks that are compared, and images that cost nothing to make."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipeline.artifacts.prepared_data import Split
from pipeline.params import Cell
from pipeline.params.file import read_params
from pipeline.params.model import KerasPetsModel, Model, SmpModel, UNetModel

if TYPE_CHECKING:
    from torch import nn

ROOT = Path(__file__).parents[1]
CLASSES = 3
SIZE, BATCH = 160, 32  # px, images: those of Keras' pets example


def _unet(base_channels: int) -> UNetModel:
    return UNetModel(
        family="unet",
        base_channels=base_channels,
        depth=4,
        upsampling="transpose",
        skip_connections="concat",
        norm="batch",
        dropout=0.0,
    )


NETWORKS: dict[str, Model] = {
    "keras_pets": KerasPetsModel(family="keras_pets"),
    "unet32": _unet(32),
    "unet16": _unet(16),
    "resnet34": SmpModel(family="smp", architecture="Unet", encoder="resnet34", pretrained=False),
    "lite0": SmpModel(family="smp", architecture="Unet", encoder="tf_efficientnet_lite0", pretrained=False),
}


def usual_network(name: str) -> nn.Module:
    """The network as anybody would build it, with torch's own way back through every convolution."""
    from pipeline.models import cpu_convolutions  # here, for Keras needs no torch
    from pipeline.models.factory import build_network

    cpu_convolutions._needs_backward = lambda _: False
    return build_network(NETWORKS[name], channels=3, classes=CLASSES)


def cell(network: str, batch: int = BATCH, threads: int = 1) -> Cell:
    """A cell that trains the network for ever, and otherwise as `params.yaml` says."""
    found = read_params(ROOT / "params.yaml").cell("unet", 1e-3, 0)
    changes = {"batch_size": batch, "num_threads": threads, "epochs": 100_000}
    return found.model_copy(update={"model": NETWORKS[network], "train": found.train.model_copy(update=changes)})


def made_up(count: int, size: int = SIZE) -> Split:
    """So many images of noise with masks in squares: no network's speed depends on what it sees."""
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (count, size, size, 3), dtype=np.uint8)
    squares = random.integers(0, CLASSES, (count, size // 8, size // 8), dtype=np.uint8)
    return Split(images, squares.repeat(8, axis=1).repeat(8, axis=2), tuple(map(str, range(count))))
