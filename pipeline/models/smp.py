"""Architectures of segmentation-models-pytorch (smp), with encoders of smp and timm."""

from __future__ import annotations

from typing import Any

import segmentation_models_pytorch
import timm
from segmentation_models_pytorch.encoders import get_encoder_names
from timm.layers.conv2d_same import Conv2dSame
from timm.layers.padding import pad_same
from torch import Tensor, nn

from pipeline.errors import PipelineError, suggest_closest
from pipeline.models.cpu_convolutions import DepthwiseConvolution, replace_slow_depthwise
from pipeline.models.pretrained import load_pretrained_encoder
from pipeline.params.custom_code import describe_error

# For DPT: timm's vision transformers accept images of one size by default, and contain a classifier.
VISION_TRANSFORMER: dict[str, Any] = {"dynamic_img_size": True, "num_classes": 0}


def build_smp_network(
    channels: int,
    classes: int,
    architecture: str,
    encoder: str,
    pretrained: bool,
    dropout: float = 0.0,
    drop_path: float = 0.0,
) -> nn.Module:
    """Build a network, initialized from torch's global generator.

    Args:
        channels: Number of image channels, N x channels x H x W; three for a pretrained encoder.
        classes: Number of classes; logits are N x classes x H x W.
        architecture: A name that smp exports, such as `FPN`.
        encoder: As in `resolve_encoder_name`.
        pretrained: Whether to load the encoder's ImageNet weights from its pip package.
        dropout: Probability of zeroing each feature map before the head in training.
        drop_path: Probability that a sample skips the encoder's last residual block in training, decreasing linearly
            towards the first block (stochastic depth, Huang et al. 2016); for timm's encoders that support it.

    Raises:
        PipelineError: The encoder is unknown, does not fit the architecture, or its weights do not fit.
    """
    name = resolve_encoder_name(encoder, architecture)
    options = dict(VISION_TRANSFORMER) if architecture == "DPT" else {}
    if drop_path:
        if not name.startswith("tu-"):  # smp would ignore it
            raise PipelineError(
                f"model.drop_path: must be 0.0 for {encoder}, but is {drop_path}: only timm's encoders support it. "
                f"Choose one, such as tf_efficientnet_lite0, or set drop_path: 0.0."
            )
        options["drop_path_rate"] = drop_path
    try:
        network: Any = segmentation_models_pytorch.create_model(
            architecture, encoder_name=name, encoder_weights=None, in_channels=channels, classes=classes, **options
        )
    except Exception as error:  # encoders raise exceptions of many types
        hint = "a vision transformer such as vit_tiny_patch16_224" if architecture == "DPT" else "resnet34, for example"
        raise PipelineError(
            f"model.encoder: {architecture} cannot use {encoder}: {describe_error(error)}. Choose another, {hint}."
        ) from error
    if pretrained:
        load_pretrained_encoder(network.encoder, name.removeprefix("tu-"), channels)
    if dropout:
        network.segmentation_head = nn.Sequential(nn.Dropout2d(dropout), network.segmentation_head)
    built: nn.Module = network
    replace_slow_depthwise(built, {nn.Conv2d: DepthwiseConvolution, Conv2dSame: SameDepthwise})
    return built


class SameDepthwise(DepthwiseConvolution):
    """A depthwise convolution with TensorFlow's padding, which depends on the image size and may be asymmetric."""

    def forward(self, images: Tensor) -> Tensor:
        """Map N x C x H x W to N x C x ceil(H / stride) x ceil(W / stride)."""
        return super().forward(pad_same(images, list(self.kernel_size), list(self.stride)))


def resolve_encoder_name(encoder: str, architecture: str) -> str:
    """Resolve an encoder's name in smp: one of smp's own, or one of timm's with the prefix `tu-`.

    A name that both have, such as resnet34, is smp's; `tu-resnet34` is timm's. Otherwise the prefix is optional. DPT
    uses timm's encoders only.

    Raises:
        PipelineError: Neither has it; the message gives the closest name.
    """
    own = () if architecture == "DPT" else tuple(get_encoder_names())
    if encoder in own:
        return encoder
    bare = encoder.removeprefix("tu-")
    # Names such as hf-hub:..., which timm would download, are not in its list.
    if timm.is_model(bare):
        return f"tu-{bare}"
    advice = "try resnet34, mobilenet_v2 or tf_efficientnet_lite0."
    hint = suggest_closest(bare, [*own, *timm.list_models()], advice, cutoff=0.6)
    raise PipelineError(f"model.encoder: neither smp nor timm has an encoder '{encoder}'; {hint}")
