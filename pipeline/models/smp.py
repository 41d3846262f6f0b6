"""Architectures of segmentation-models-pytorch; pretrained encoders have their weights from a pip package, no hub."""

from __future__ import annotations

import difflib
from typing import Any

import segmentation_models_pytorch
import timm
from segmentation_models_pytorch.encoders import get_encoder_names
from timm.layers.conv2d_same import Conv2dSame
from timm.layers.padding import pad_same
from torch import Tensor, nn

from pipeline.errors import PipelineError
from pipeline.models.convolutions import DepthwiseConvolution, exchange_slow_depthwise
from pipeline.models.pretrained import load_encoder
from pipeline.params.import_path import in_words

# DPT's encoder is a vision transformer. Those of timm take images of one size unless told otherwise, and bring a
# classifier along, which nothing would ask.
VISION_TRANSFORMER: dict[str, Any] = {"dynamic_img_size": True, "num_classes": 0}


def smp_network(
    channels: int,
    classes: int,
    architecture: str,
    encoder: str,
    pretrained: bool,
    dropout: float = 0.0,
    drop_path: float = 0.0,
) -> nn.Module:
    """The network, its encoder pretrained on ImageNet if asked for; initialised from torch's generator.

    Args:
        channels: of the images, N x channels x H x W; three where the encoder is pretrained.
        classes: of the masks; the network answers with logits N x classes x H x W.
        architecture: a name that smp exports, such as `FPN`.
        encoder: as `encoder_name` takes it.
        pretrained: whether the encoder's weights are read from its pip package.
        dropout: probability, in training, of each feature map before the head to be blanked.
        drop_path: probability, in training, of the encoder's last residual block to be skipped by a sample; of those
            before it proportionally less (Huang et al. 2016). For encoders of timm that know it.

    Raises:
        PipelineError: There is no such encoder, the architecture cannot stand on it, or its weights do not fit.
    """
    name = encoder_name(encoder, architecture)
    options = dict(VISION_TRANSFORMER) if architecture == "DPT" else {}
    if drop_path:
        if not name.startswith("tu-"):  # smp would take it and do nothing
            raise PipelineError(
                f"model.drop_path: must be 0.0 for {encoder}, but is {drop_path}: only timm's encoders drop paths. "
                f"Choose one, such as tf_efficientnet_lite0, or set drop_path: 0.0."
            )
        options["drop_path_rate"] = drop_path
    try:
        network: Any = segmentation_models_pytorch.create_model(
            architecture, encoder_name=name, encoder_weights=None, in_channels=channels, classes=classes, **options
        )
    except Exception as error:  # of any kind: each of the encoders refuses in its own way
        hint = "a vision transformer such as vit_tiny_patch16_224" if architecture == "DPT" else "resnet34, for example"
        raise PipelineError(
            f"model.encoder: {architecture} cannot stand on {encoder}: {in_words(error)}. Choose another, {hint}."
        ) from error
    if pretrained:
        load_encoder(network.encoder, name.removeprefix("tu-"), channels)
    if dropout:
        network.segmentation_head = nn.Sequential(nn.Dropout2d(dropout), network.segmentation_head)
    built: nn.Module = network
    exchange_slow_depthwise(built, {nn.Conv2d: DepthwiseConvolution, Conv2dSame: SameDepthwise})
    return built


class SameDepthwise(DepthwiseConvolution):
    """With the padding of TensorFlow, which depends on the size of the image and may be lopsided."""

    def forward(self, images: Tensor) -> Tensor:
        """N x C x H x W to N x C x ceil(H / stride) x ceil(W / stride)."""
        return super().forward(pad_same(images, list(self.kernel_size), list(self.stride)))


def encoder_name(encoder: str, architecture: str) -> str:
    """The name that smp knows an encoder by: one of smp's own, or one of timm's behind the prefix `tu-`.

    A name that both know, such as resnet34, means smp's own, and `tu-resnet34` timm's; else the prefix may be left out.
    DPT stands on timm's only. Raises `PipelineError` with the nearest name where neither knows it.
    """
    own = () if architecture == "DPT" else tuple(get_encoder_names())
    if encoder in own:
        return encoder
    bare = encoder.removeprefix("tu-")
    # A name such as hf-hub:... makes timm download; it is none of those that timm lists, and ends below.
    if timm.is_model(bare):
        return f"tu-{bare}"
    near = difflib.get_close_matches(bare, [*own, *timm.list_models()], n=1)
    hint = f"did you mean {near[0]}?" if near else "try resnet34, mobilenet_v2 or tf_efficientnet_lite0."
    raise PipelineError(f"model.encoder: neither smp nor timm has an encoder '{encoder}'; {hint}")
