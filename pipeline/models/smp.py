"""Architectures from segmentation-models-pytorch (smp), with encoders from smp and timm."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import segmentation_models_pytorch
import timm
import torch
from segmentation_models_pytorch.encoders import get_encoder_names
from timm.layers.conv2d_same import Conv2dSame
from timm.layers.padding import pad_same
from torch import Tensor, nn

from pipeline.errors import PipelineError
from pipeline.models.cpu_convolutions import DepthwiseConvolution, replace_slow_depthwise
from pipeline.models.initial_weights import locate_packaged
from pipeline.models.normalization import RGB
from pipeline.params.custom_code import describe_error
from pipeline.params.model import SmpModel
from pipeline.wording import suggest_closest

# For DPT: by default, timm's vision transformers accept images of only one size, and contain a classifier.
VISION_TRANSFORMER: dict[str, Any] = {"dynamic_img_size": True, "num_classes": 0}
# Layers of the classifier that a segmentation encoder does not have: the last 1 x 1 convolution with its
# normalization, and the fully connected layer.
CLASSIFIER = ("_conv_head.", "_bn1.", "_fc.")


def build_smp_network(model: SmpModel, channels: int, classes: int) -> nn.Module:
    """Build an smp network, initialized from torch's global generator.

    Raises:
        PipelineError: The encoder is unknown, or does not fit the architecture.
    """
    network: Any = create_smp_network(model, channels, classes)
    if model.dropout:
        network.segmentation_head = nn.Sequential(nn.Dropout2d(model.dropout), network.segmentation_head)
    built: nn.Module = network
    replace_slow_depthwise(built, {nn.Conv2d: DepthwiseConvolution, Conv2dSame: SameDepthwise})
    return built


def create_smp_network(
    model: SmpModel, channels: int, classes: int, timm_weights: Mapping[str, Tensor] | None = None
) -> nn.Module:
    """Create a network with smp; timm loads `timm_weights`, which are a classifier's weights, into the encoder.

    Raises:
        PipelineError: The encoder is unknown, or does not fit the architecture.
    """
    architecture, encoder, drop_path = model.architecture, model.encoder, model.drop_path
    name = resolve_encoder_name(encoder, architecture)
    options = dict(VISION_TRANSFORMER) if architecture == "DPT" else {}
    if timm_weights is not None:
        # timm loads a given state dict instead of downloading weights.
        options |= {"num_classes": 0, "pretrained_cfg_overlay": {"state_dict": dict(timm_weights)}}
    if drop_path:  # stochastic depth (Huang et al. 2016)
        if not name.startswith("tu-"):  # smp would ignore it
            raise PipelineError(
                f"model.drop_path: must be 0.0 for {encoder}, but is {drop_path}: only timm's encoders support it. "
                f"Choose one, such as tf_efficientnet_lite0, or set drop_path: 0.0."
            )
        options["drop_path_rate"] = drop_path
    try:
        network: nn.Module = segmentation_models_pytorch.create_model(
            architecture,
            encoder_name=name,
            encoder_weights=None if timm_weights is None else True,
            in_channels=channels,
            classes=classes,
            **options,
        )
    except Exception as error:  # encoders raise exceptions of many types
        other = "a vision transformer such as vit_tiny_patch16_224" if architecture == "DPT" else "resnet34"
        raise PipelineError(
            f"model.encoder: {architecture} cannot use {encoder}: {describe_error(error)}. Choose another encoder, for "
            f"example {other}."
        ) from error
    return network


class SameDepthwise(DepthwiseConvolution):
    """A depthwise convolution with TensorFlow's padding, which depends on the image size and may be asymmetric."""

    def forward(self, images: Tensor) -> Tensor:
        """Map N x C x H x W to N x C x ceil(H / stride) x ceil(W / stride)."""
        return super().forward(pad_same(images, list(self.kernel_size), list(self.stride)))


def resolve_encoder_name(encoder: str, architecture: str) -> str:
    """Resolve an encoder's name in smp, which prefixes the names of timm's encoders with `tu-`.

    If both libraries have an encoder, such as resnet34, its name without the prefix selects smp's encoder, and
    `tu-resnet34` selects timm's. Otherwise the prefix is optional. DPT supports only timm's encoders.

    Raises:
        PipelineError: Neither smp nor timm has the encoder. The message suggests the closest name.
    """
    own = () if architecture == "DPT" else tuple(get_encoder_names())
    if encoder in own:
        return encoder
    bare = encoder.removeprefix("tu-")
    # Names such as hf-hub:..., which timm would download, are not in its list.
    if timm.is_model(bare):
        return f"tu-{bare}"
    advice = "try resnet34, mobilenet_v2 or tf_efficientnet_lite0."
    hint = suggest_closest(bare, [*own, *timm.list_models()], advice)
    raise PipelineError(f"model.encoder: neither smp nor timm has an encoder '{encoder}'; {hint}")


def load_packaged_weights(encoder: str) -> dict[str, Tensor]:
    """Load the tensors of a classifier from an encoder's pip package, in the order of the file."""
    stored: dict[str, Tensor] = torch.load(locate_packaged(encoder), map_location="cpu", weights_only=True)
    return stored


def load_packaged_encoder(encoder: nn.Module, name: str, channels: int) -> None:
    """Load ImageNet weights from a pip package into an smp encoder, in place.

    The tensor names in the packages differ from timm's, but the order is the same. Tensors are matched by order, and
    their shapes must be equal.

    Raises:
        PipelineError: Images do not have three channels, or the tensors do not match.
    """
    if channels != RGB:
        raise PipelineError(
            f"model.pretrained: the weights of {name} expect images with three channels, but the data has {channels}; "
            "set pretrained: false"
        )
    source = [(key, value) for key, value in load_packaged_weights(name).items() if not key.startswith(CLASSIFIER)]
    target = encoder.state_dict()
    pairs = list(zip(target.items(), source, strict=False))
    wrong = [
        f"{theirs} has the shape {tuple(b.shape)}, but {ours} {tuple(a.shape)}"
        for (ours, a), (theirs, b) in pairs
        if a.shape != b.shape
    ]
    if wrong or len(target) != len(source):
        raise PipelineError(
            f"The weights of {name} do not fit its encoder: found {len(source)} tensors, expected {len(target)}"
            f"{'; ' + wrong[0] if wrong else ''}. Install the locked versions: make install"
        )
    encoder.load_state_dict({ours: value for (ours, _), (_, value) in pairs})
