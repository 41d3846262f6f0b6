"""Schema of the `model` section of `params.yaml`: one model per family."""

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
DILATED = {"PSPNet": 8, "DeepLabV3": 8, "DeepLabV3Plus": 16, "PAN": 16}  # size multiples with dilated convolutions


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


# Only files in `weights/` are allowed, because DVC does not notice changes elsewhere.
WeightsFile = Annotated[Literal[False] | str, BeforeValidator(_check_weights("false"))]
Pretrained = Annotated[bool | str, BeforeValidator(_check_weights("true, false"))]


class UNetModel(Section):
    """The U-Net of this project (Ronneberger et al. 2015)."""

    family: Literal["unet"]
    """Family of the network."""
    base_channels: int = Field(ge=1, le=1024)
    """Number of channels of the first level, doubled at each level below. 16 to 64 is usual."""
    depth: int = Field(ge=1, le=8)
    """Number of downsampling steps. Images are padded to multiples of 2^depth. 2 to 5 is usual."""
    upsampling: Upsampling
    """`transpose`: learned transposed convolution; `bilinear`: interpolation, then a convolution."""
    skip_connections: SkipConnections
    """How encoder features are passed to the decoder."""
    norm: Norm
    """`batch`: batch normalization; `group`: group normalization with up to 8 groups of channels; `none`: biases
    instead of normalization, which makes training slower.
    """
    dropout: float = Field(ge=0, le=0.9, allow_inf_nan=False)
    """Probability of zeroing each feature map of the bottleneck during training. 0 to 0.5 is usual."""
    pretrained: WeightsFile = False
    """File in `weights/` with the initial weights, created by `pipeline weights add`. If false, they are random."""

    @property
    def size_multiple(self) -> int:
        """Number of pixels that height and width must be a multiple of.

        Each of `depth` poolings halves them.
        """
        return 1 << self.depth


class SmpModel(Section):
    """An architecture of segmentation-models-pytorch with an encoder."""

    family: Literal["smp"]
    """Family of the network."""
    architecture: ArchitectureName
    """Architecture of segmentation-models-pytorch."""
    encoder: str = Field(min_length=1)
    """Name of an encoder of smp or timm."""
    pretrained: Pretrained
    """Initial weights. `true`: published weights of the encoder; `false`: random weights; or a file in `weights/`."""
    dropout: Annotated[float, Field(ge=0, le=0.9, allow_inf_nan=False)] = 0.0
    """Probability of zeroing each of the decoder's last feature maps during training."""
    drop_path: Annotated[float, Field(ge=0, le=0.9, allow_inf_nan=False)] = 0.0
    """Probability of skipping the encoder's last residual block during training. It is lower for earlier blocks."""

    @property
    def size_multiple(self) -> int:
        """Number of pixels that height and width must be a multiple of.

        It is 32, because encoders halve the size five times, and DPT's lowest level is equally small. It is smaller for
        architectures with dilated convolutions. (Unet would accept any size, but interpolate feature maps that no
        longer align.)
        """
        return DILATED.get(self.architecture, 32)


def is_packaged(encoder: str) -> bool:
    """Return whether a pip package has this encoder's ImageNet weights; smp's prefix `tu-` is optional."""
    return encoder.removeprefix(TIMM) in PACKAGED


class KerasPetsModel(Section):
    """The network of Keras' pets example. Its architecture has no options."""

    family: Literal["keras_pets"]
    """Family of the network."""
    pretrained: WeightsFile = False
    """File in `weights/` with the initial weights, created by `pipeline weights add`. If false, they are random."""

    @property
    def size_multiple(self) -> int:
        """Number of pixels that height and width must be a multiple of.

        It is 16, because a strided convolution and three poolings halve them.
        """
        return 16


class CustomModel(Section):
    """A user's own network, created by a function such as `build(channels=..., classes=...)`."""

    family: Literal["custom"]
    """Family of the network."""
    import_path: ImportPath
    """`module:callable`, in `custom/` or an installed package."""
    size_multiple: int = Field(ge=1, le=2048)
    """Images are padded to multiples of this number of pixels."""
    pretrained: WeightsFile = False
    """File in `weights/` with the initial weights, created by `pipeline weights add`. If false, they are random."""


Model = Annotated[UNetModel | SmpModel | KerasPetsModel | CustomModel, Field(discriminator="family")]


def compute_smallest_size(model: Model) -> int:
    """Compute the minimum height and width of images in px.

    PAN needs 128 px, because it halves its smallest feature map, a sixteenth of the image, three more times.
    """
    return 128 if isinstance(model, SmpModel) and model.architecture == "PAN" else model.size_multiple
