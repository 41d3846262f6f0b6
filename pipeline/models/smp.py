"""Architectures of segmentation-models-pytorch; pretrained encoders have their weights from a pip package, no hub."""

from __future__ import annotations

from typing import Any

import segmentation_models_pytorch
from torch import nn

from pipeline.models.pretrained import load_encoder


def smp_network(channels: int, classes: int, architecture: str, encoder: str, pretrained: bool) -> nn.Module:
    """The network, its encoder pretrained on ImageNet if asked for; raises `PipelineError` where weights do not fit."""
    # The prefix "tu-" is how smp names an encoder of timm.
    network: Any = segmentation_models_pytorch.create_model(
        architecture, encoder_name=f"tu-{encoder}", encoder_weights=None, in_channels=channels, classes=classes
    )
    if pretrained:
        load_encoder(network.encoder, encoder, channels)
    built: nn.Module = network
    return built
