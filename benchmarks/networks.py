"""Networks, cells and random images for the speed benchmarks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.step_timer import MIN_SECONDS, StepTimer
from pipeline.artifacts.prepared_data import SegmentationClass, Split
from pipeline.params import Cell
from pipeline.params.file import read_params
from pipeline.params.model import KerasPetsModel, Model, SmpModel, UNetModel

if TYPE_CHECKING:
    from torch import nn

ROOT = Path(__file__).parents[1]
NUM_CLASSES = 3
CLASSES = tuple(SegmentationClass(str(index), "#000000", foreground=False) for index in range(NUM_CLASSES))
IMAGE_SIZE, BATCH_SIZE = 160, 32  # side in px and number of images, as in Keras' pets example


@dataclass(frozen=True)
class Workload:
    """Batches, device and duration of a throughput benchmark."""

    num_threads: int
    device: str = "cpu"  # cpu or cuda
    batch_size: int = BATCH_SIZE
    image_size: int = IMAGE_SIZE  # px
    steps_per_epoch: int = 2
    num_loaders: int = 0  # processes that load and augment images in Lightning; 0: none besides the training process
    warmup_steps: int = 1
    min_seconds: float = MIN_SECONDS

    def create_timer(self) -> StepTimer:
        """Create a timer of steps that waits for a GPU where the measurement starts and ends."""
        return StepTimer(self.min_seconds, self.warmup_steps, self.synchronize)

    def synchronize(self) -> None:
        """Wait until a GPU has finished its work."""
        if self.device == "cuda":
            import torch  # not at the top, because the Keras baseline must not import torch

            torch.cuda.synchronize()


def _create_unet(base_channels: int) -> UNetModel:
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
    "unet32": _create_unet(32),
    "unet16": _create_unet(16),
    "resnet34": SmpModel(family="smp", architecture="Unet", encoder="resnet34", pretrained=False),
    "lite0": SmpModel(family="smp", architecture="Unet", encoder="tf_efficientnet_lite0", pretrained=False),
}


def build_baseline_network(name: str) -> nn.Module:
    """Build a network whose training steps use torch's own convolutions."""
    from pipeline.models import cpu_convolutions  # not at the top, because the Keras baseline must not import torch
    from pipeline.models.factory import build_network

    cpu_convolutions._needs_backward = lambda _: False
    return build_network(NETWORKS[name], channels=3, classes=NUM_CLASSES)


def create_cell(network: str, batch_size: int = BATCH_SIZE, num_threads: int = 1) -> Cell:
    """Create a cell that trains a network almost endlessly with cross-entropy; the rest is as in `params.yaml`."""
    cell = read_params(ROOT / "params.yaml").cell("unet", 1e-3, 0)
    changes = {"batch_size": batch_size, "num_threads": num_threads, "epochs": 100_000, "loss": "cross_entropy"}
    return cell.model_copy(update={"model": NETWORKS[network], "train": cell.train.model_copy(update=changes)})


def create_random_split(num_images: int, size: int = IMAGE_SIZE) -> Split:
    """Create images of noise and masks of random squares; their content does not affect the speed of a network."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (num_images, size, size, 3), dtype=np.uint8)
    squares = rng.integers(0, NUM_CLASSES, (num_images, size // 8, size // 8), dtype=np.uint8)
    return Split.of(images, squares.repeat(8, axis=1).repeat(8, axis=2))
