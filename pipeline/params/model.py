"""Schema of the section `model` of `params.yaml`: one model per family."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import PurePosixPath
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from pipeline.artifacts.weights_folder import SUFFIXES, TIMM, WEIGHTS
from pipeline.params.custom_code import ImportPath
from pipeline.params.section import Section

Upsampling = Literal["transpose", "bilinear"]
SkipConnections = Literal["concat", "add", "none"]
Norm = Literal["batch", "group", "none"]

# Listed here because importing smp takes seconds; a test compares the list with smp.
ArchitectureName = Literal[
    "Unet",
    "UnetPlusPlus",
    "MAnet",
    "Linknet",
    "FPN",
    "PSPNet",
    "DeepLabV3",
    "DeepLabV3Plus",
    "PAN",
    "UPerNet",
    "Segformer",
    "DPT",
]
PACKAGED = ("tf_efficientnet_lite0", "tf_efficientnet_lite1", "tf_efficientnet_lite2")  # weights in pip packages
DILATED = {"PSPNet": 8, "DeepLabV3": 8, "DeepLabV3Plus": 16, "PAN": 16}  # size multiples; others halve five times


def _check_weights(choices: str) -> Callable[[object], object]:
    def check(value: object) -> object:
        path = PurePosixPath(value) if isinstance(value, str) else None
        is_file = path and path.suffix in SUFFIXES and path.parts[0] == str(WEIGHTS) and ".." not in path.parts
        if not (is_file or value is False or (value is True and "true" in choices)):
            raise ValueError(
                f"must be {choices} or a file in {WEIGHTS}/, such as {WEIGHTS}/my_network.safetensors, that ends in "
                f"{', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}"
            )
        return value

    return check


# DVC sees changes of files in `weights/` only.
WeightsFile = Annotated[Literal[False] | str, BeforeValidator(_check_weights("false"))]
Pretrained = Annotated[bool | str, BeforeValidator(_check_weights("true, false"))]


class UNetModel(Section):
    """The U-Net of this project (Ronneberger et al. 2015)."""

    family: Literal["unet"]
    """The network."""
    base_channels: int = Field(ge=1, le=1024)
    """Channels of the first level, doubled at each level below; 16 to 64 is usual."""
    depth: int = Field(ge=1, le=8)
    """Number of poolings; images are padded to multiples of 2^depth. 2 to 5 is usual."""
    upsampling: Upsampling
    """Learned transposed convolution, or interpolation with a convolution."""
    skip_connections: SkipConnections
    """How encoder features join the decoder."""
    norm: Norm
    """Normalization: over the batch, over 8 groups of channels, or none (biases instead, slow learning)."""
    dropout: float = Field(ge=0, le=0.9, allow_inf_nan=False)
    """Probability of zeroing each feature map after the bottleneck in training; 0 to 0.5 is usual."""
    pretrained: WeightsFile = False
    """Start from a file in `weights/` instead of random weights, such as one of `pipeline weights add`."""

    @property
    def size_multiple(self) -> int:
        """Factor of height and width: each of `depth` poolings halves them."""
        return 1 << self.depth


class SmpModel(Section):
    """An architecture of segmentation-models-pytorch with an encoder."""

    family: Literal["smp"]
    """The network."""
    architecture: ArchitectureName
    """Architecture of segmentation-models-pytorch."""
    encoder: str = Field(min_length=1)
    """Encoder of smp or timm."""
    pretrained: Pretrained
    """Start from the encoder's published weights, from random ones, or from a file in `weights/`."""
    dropout: Annotated[float, Field(ge=0, le=0.9, allow_inf_nan=False)] = 0.0
    """Probability of zeroing each of the decoder's last feature maps in training."""
    drop_path: Annotated[float, Field(ge=0, le=0.9, allow_inf_nan=False)] = 0.0
    """Probability of skipping the encoder's last residual block in training; lower for earlier blocks."""

    @property
    def size_multiple(self) -> int:
        """Factor of height and width.

        32, since encoders halve five times, and DPT's lowest level is as small; less for architectures with dilated
        convolutions. (Unet would accept any size, and interpolate feature maps that no longer align.)
        """
        return DILATED.get(self.architecture, 32)


def is_packaged(encoder: str) -> bool:
    """Return whether a pip package has this encoder's ImageNet weights; smp's prefix `tu-` is optional."""
    return encoder.removeprefix(TIMM) in PACKAGED


class KerasPetsModel(Section):
    """The network of Keras' pets example, without options."""

    family: Literal["keras_pets"]
    """The network."""
    pretrained: WeightsFile = False
    """Start from a file in `weights/` instead of random weights, such as one of `pipeline weights add`."""

    @property
    def size_multiple(self) -> int:
        """Factor of height and width: a convolution of stride 2 and three poolings halve them."""
        return 16


class CustomModel(Section):
    """A user's own network: `build(channels=..., classes=...)` in a module of `custom/` or of an installed package."""

    family: Literal["custom"]
    """The network."""
    import_path: ImportPath
    """`module:callable`, in `custom/` or in an installed package."""
    size_multiple: int = Field(ge=1, le=2048)
    """Images are padded to multiples of this number of pixels."""
    pretrained: WeightsFile = False
    """Start from a file in `weights/` instead of random weights, such as one of `pipeline weights add`."""


Model = Annotated[UNetModel | SmpModel | KerasPetsModel | CustomModel, Field(discriminator="family")]


def compute_smallest_size(model: Model) -> int:
    """Compute the least height and width of images, px: PAN halves a sixteenth of the image three more times."""
    return 128 if isinstance(model, SmpModel) and model.architecture == "PAN" else model.size_multiple
