"""Build a network from its parameters, or load the network of a run.

Families are imported on demand, because smp and timm take seconds to import.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from pipeline.artifacts.run_folder import RunFolder
from pipeline.artifacts.weights_folder import WeightsRecord
from pipeline.errors import PipelineError
from pipeline.models.encoder import freeze_encoder_weights
from pipeline.models.normalization import NORMALIZE, Normalize
from pipeline.models.precision import select_device
from pipeline.models.unet import UNet
from pipeline.params import Cell
from pipeline.params.model import CustomModel, KerasPetsModel, Model, SmpModel
from pipeline.params.run_config import read_run_config


class PaddedNetwork(nn.Sequential):
    """A network that normalizes images, and pads their height and width to multiples of a number of pixels."""

    def __init__(self, network: nn.Module, multiple: int) -> None:
        """Wrap a network that maps normalized images to logits of the same height and width.

        Args:
            network: The network without normalization.
            multiple: Number of pixels; the height and width of the network's images must be multiples of it.
        """
        super().__init__(Normalize(), network)
        self._multiple = multiple
        self.initial_weights: WeightsRecord | None = None  # None for random weights

    @property
    def normalize(self) -> Normalize:
        """Normalization of the images."""
        normalize = self[0]
        assert isinstance(normalize, Normalize)
        return normalize

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


def build_network(model: Model, channels: int, classes: int) -> PaddedNetwork:
    """Build a network that maps images, N x C x H x W in 0..1, to logits, N x classes x H x W.

    The network is initialized from torch's global generator, then from the weights of `model.pretrained`, if any. It
    pads images whose sides are not multiples of `model.size_multiple`.

    Raises:
        PipelineError: The encoder is unknown, a custom network cannot be built, or the weights are missing or do not
            fit.
    """
    family = _build_family(model, channels, classes)
    network = PaddedNetwork(family, model.size_multiple)
    if model.pretrained:
        from pipeline.models.pretrained import load_initial_weights

        network.initial_weights = load_initial_weights(network.normalize, family, model, channels, classes)
    return network


def build_cell_network(cell: Cell, channels: int, classes: int) -> PaddedNetwork:
    """Build the network of a cell as `build_network` does, with a frozen encoder if `train.encoder_lr_factor` is 0.

    Raises:
        PipelineError: The network cannot be built, or no weight outside its encoder is left to train.
    """
    network = build_network(cell.model, channels, classes)
    if cell.train.encoder_lr_factor == 0:
        freeze_encoder_weights(network)
    return network


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
    """Load a run's network for prediction, and set torch to the number of threads used in training.

    Raises:
        PipelineError: The weights cannot be read, or belong to a different network.
    """
    cell = read_run_config(run.record, run.path)
    torch.set_num_threads(cell.train.num_threads)
    # Built without its initial weights, which may be missing on this machine and are replaced by the run's weights.
    untrained = cell.model.model_copy(update={"pretrained": False})
    network = build_cell_network(cell.model_copy(update={"model": untrained}), channels, classes)
    try:
        weights = load_file(run.weights)
        if f"{NORMALIZE}mean" in weights:
            network.normalize.copy_statistics(weights[f"{NORMALIZE}mean"], weights[f"{NORMALIZE}std"], channels)
        network.load_state_dict(weights)
    except (OSError, RuntimeError, SafetensorError) as error:
        raise PipelineError(
            f"{run.weights} does not contain the weights for this variant ({str(error).splitlines()[0]}). Train the "
            f"run again: {run.redo_command}"
        ) from None
    return network.to(select_device()).to(memory_format=torch.channels_last).eval()


def count_trainable_parameters(network: nn.Module) -> int:
    """Count the trainable parameters of a network."""
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)
