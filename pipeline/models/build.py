"""From parameters to a network; a family is imported when it is built, since smp and timm take seconds to import."""

from __future__ import annotations

from torch import Tensor, nn

from pipeline.models.unet import UNet
from pipeline.params.model import KerasPetsModel, Model, OwnModel, SmpModel


class Normalise(nn.Module):
    """Maps pixels from 0..1 to -1..1, the range that lite0's ImageNet weights were trained on (mean = deviation = 0.5).

    A part of the network, so that whoever holds the weights needs to know no more of its preprocessing.
    """

    def forward(self, images: Tensor) -> Tensor:
        """Any shape."""
        return (images - 0.5) / 0.5


def build_network(model: Model, channels: int, classes: int) -> nn.Module:
    """A network from images N x C x H x W in 0..1 to logits N x classes x H x W; initialised from torch's generator."""
    return nn.Sequential(Normalise(), _family(model, channels, classes))


def _family(model: Model, channels: int, classes: int) -> nn.Module:
    if isinstance(model, SmpModel):
        from pipeline.models.smp import smp_network

        return smp_network(
            channels, classes, model.architecture, model.encoder, model.pretrained, model.dropout, model.drop_path
        )
    if isinstance(model, KerasPetsModel):
        from pipeline.models.keras_pets import KerasPets

        return KerasPets(channels, classes)
    if isinstance(model, OwnModel):
        from pipeline.models.own import own_network

        return own_network(model, channels, classes)
    return UNet(channels, classes, model.base_channels, model.depth, model.up, model.skip, model.norm, model.dropout)


def trainable_parameters(network: nn.Module) -> int:
    """How many numbers training may change."""
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)
