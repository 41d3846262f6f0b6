"""Freeze a network's encoder during training, and find its layers."""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.optim import Optimizer

from pipeline.errors import PipelineError
from pipeline.models.encoder import NAME, is_encoder_weight
from pipeline.params.train import Train

DEFAULTS = {"encoder_lr_factor": 1.0, "encoder_layer_decay": 1.0, "freeze_encoder_epochs": 0}
# Layers of encoders that do not describe their own layers, from first to last, in timm's notation: smp's mix
# transformers, and the stages that timm's hierarchical encoders (Swin, ConvNeXt, MaxViT, ...) have in common.
LAYERS: tuple[dict[str, Any], ...] = (
    {
        "stem": r"^patch_embed1",
        "blocks": [
            (r"^block(\d+)\.(\d+)", None),
            (r"^patch_embed(\d+)", (-1,)),  # before the blocks of its stage
            (r"^norm(\d+)", (99_999,)),  # with the last block of its stage
        ],
    },
    {
        "stem": r"^model\.(?:stem|patch_embed)",
        "blocks": [
            (r"^model\.(?:stages|layers)_(\d+)\.blocks\.(\d+)", None),
            (r"^model\.(?:stages|layers)_(\d+)\.downsample", (-1,)),
        ],
    },
)
MIN_LAYERS = 4


def check_encoder(network: nn.Module, settings: Train) -> None:
    """Check that a network has a trainable encoder if a setting applies to the encoder.

    Raises:
        PipelineError: A setting applies to the encoder, but the network has no trainable encoder.
    """
    is_frozen = settings.encoder_lr_factor == 0  # by `build_cell_network`
    if any(is_encoder_weight(name) for name, weight in network.named_parameters() if weight.requires_grad or is_frozen):
        return
    for key, default in DEFAULTS.items():
        if (value := getattr(settings, key)) != default:
            raise PipelineError(
                f"train.{key}: must be {default}, but is {value}, because this network has no trainable part named "
                f"{NAME}. Set it to {default} under `train` in the variant."
            )


def freeze_encoder(network: nn.Module, optimizer: Optimizer, *, is_frozen: bool) -> None:
    """Freeze or unfreeze the encoder; call this after `network.train()`.

    A frozen encoder is in evaluation mode, so that its normalization statistics do not change, either. Weights that are
    not in the optimizer stay frozen.
    """
    trained = {id(weight) for group in optimizer.param_groups for weight in group["params"]}
    for name, weight in network.named_parameters():
        if is_encoder_weight(name) and id(weight) in trained:
            weight.requires_grad_(not is_frozen)
    if is_frozen:
        for name, module in network.named_modules():
            if name.split(".")[-1] == NAME:
                module.eval()


def find_encoder_layers(network: nn.Module) -> dict[str, int]:
    """Find the layer of each encoder weight.

    Returns:
        Mapping from each weight's name in the network to the number of layers above it; 0 for the last layer.

    Raises:
        PipelineError: The layers of this encoder are unknown.
    """
    from timm.models import group_parameters  # slow to import

    name, encoder = next((name, module) for name, module in network.named_modules() if is_encoder_weight(name))
    inner: Any = getattr(encoder, "model", None)
    if hasattr(inner, "group_matcher"):  # timm's vision transformers describe their layers
        found = group_parameters(inner, inner.group_matcher(coarse=False), reverse=True)
        name += ".model"
    else:
        groupings = (group_parameters(encoder, layers, reverse=True) for layers in LAYERS)
        found = max(groupings, key=lambda one: len(set(one.values())))
    count = max(found.values()) + 1
    if count < MIN_LAYERS:
        raise PipelineError(
            "train.encoder_layer_decay: must be 1.0, because the layers of this encoder are unknown. The setting "
            "supports vision transformers, mix transformers (mit_b0, ...) and timm's hierarchical encoders, such as "
            "tu-convnext_atto and tu-swinv2_tiny_window8_256."
        )
    return {f"{name}.{weight}": count - 1 - layer for weight, layer in found.items()}
