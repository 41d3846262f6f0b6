"""Build a network from its parameters, or load that of a run.

Each family is imported on demand, since smp and timm take seconds to import.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from pipeline.artifacts.run_folder import RunFolder
from pipeline.errors import PipelineError
from pipeline.models.precision import select_device
from pipeline.models.unet import UNet
from pipeline.params.model import CustomModel, KerasPetsModel, Model, SmpModel
from pipeline.params.run_config import read_run_config


class Normalize(nn.Module):
    """Maps pixels from 0..1 to -1..1, the range of lite0's ImageNet weights (mean = standard deviation = 0.5).

    A part of the network, so that the weights alone define its preprocessing.
    """

    def forward(self, images: Tensor) -> Tensor:
        """Normalize pixels of any shape."""
        return (images - 0.5) / 0.5


class PaddedNetwork(nn.Sequential):
    """Normalizes images, and pads them for a network that needs multiples of some pixels as height and width."""

    def __init__(self, network: nn.Module, multiple: int) -> None:
        """Wrap a network that maps normalized images to logits of their size."""
        super().__init__(Normalize(), network)
        self._multiple = multiple

    def forward(self, images: Tensor) -> Tensor:
        """Map images, N x C x H x W in 0..1, to logits, N x classes x H x W."""
        height, width = images.shape[-2:]
        below, right = -height % self._multiple, -width % self._multiple
        if not (below or right):
            return self._run(images)
        return self._run(F.pad(images, (0, right, 0, below), mode="replicate"))[..., :height, :width]

    def _run(self, images: Tensor) -> Tensor:
        logits: Tensor = super().forward(images)  # type: ignore[no-untyped-call]
        return logits


def build_network(model: Model, channels: int, classes: int) -> nn.Module:
    """Build a network that maps images, N x C x H x W in 0..1, to logits, N x classes x H x W.

    It is initialized from torch's global generator, and pads images whose sides are not multiples of
    `model.size_multiple`.

    Raises:
        PipelineError: The encoder is unknown, or the user's own network cannot be built.
    """
    return PaddedNetwork(_build_family(model, channels, classes), model.size_multiple)


def _build_family(model: Model, channels: int, classes: int) -> nn.Module:
    if isinstance(model, SmpModel):
        from pipeline.models.smp import build_smp_network

        return build_smp_network(model, channels, classes)
    if isinstance(model, KerasPetsModel):
        from pipeline.models.keras_pets import KerasPets

        return KerasPets(channels, classes)
    if isinstance(model, CustomModel):
        from pipeline.models.custom import build_custom_network

        return build_custom_network(model, channels, classes)
    return UNet(channels, classes, model)


def load_trained_network(run: RunFolder, channels: int, classes: int) -> nn.Module:
    """Load the network for prediction, and set the number of threads that it was trained with.

    Raises:
        PipelineError: The weights cannot be read, or belong to another network.
    """
    cell = read_run_config(run.record, run.path)
    torch.set_num_threads(cell.train.num_threads)
    # The run's weights replace all others: loading those of ImageNet first would be wasted time.
    model = cell.model.model_copy(update={"pretrained": False}) if isinstance(cell.model, SmpModel) else cell.model
    network = build_network(model, channels, classes)
    try:
        network.load_state_dict(load_file(run.weights))
    except (OSError, RuntimeError, SafetensorError) as error:
        raise PipelineError(
            f"{run.weights} does not hold this variant's weights ({str(error).splitlines()[0]}). Train it again: "
            f"{run.redo_command}"
        ) from None
    return network.to(select_device()).to(memory_format=torch.channels_last).eval()


def count_trainable_parameters(network: nn.Module) -> int:
    """Count the numbers that training may change."""
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)
