"""The encoder of a network: the submodule named `encoder`, at any level, as in segmentation-models-pytorch.

This project's U-Net uses the same name, and custom networks can.
"""

from __future__ import annotations

from torch import nn

from pipeline.errors import PipelineError

NAME = "encoder"


def is_encoder_weight(name: str) -> bool:
    """Return whether the weight or module with this name belongs to the encoder."""
    return NAME in name.split(".")


def freeze_encoder_weights(network: nn.Module) -> None:
    """Freeze the weights of the encoder, in place.

    Raises:
        PipelineError: No weight outside the encoder is left to train.
    """
    weights = dict(network.named_parameters())
    for name, weight in weights.items():
        if is_encoder_weight(name):
            weight.requires_grad_(False)
    if not any(weight.requires_grad for weight in weights.values()):
        raise PipelineError(
            f"train.encoder_lr_factor: must be above 0, but is 0, because all trainable weights of this network are in "
            f"parts named {NAME}."
        )
