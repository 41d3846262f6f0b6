"""What the section `model` of `params.yaml` may say: a model a family."""

from __future__ import annotations

import difflib
from typing import Annotated, Literal, get_args

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator

from pipeline.params.factory import Factory
from pipeline.params.section import Section

# Written down here, for smp takes seconds to import; a test compares them with what smp has.
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
ARCHITECTURES: tuple[str, ...] = get_args(ArchitectureName)
PRETRAINED = ("tf_efficientnet_lite0", "tf_efficientnet_lite1", "tf_efficientnet_lite2")  # weights in pip packages
DILATED = {"PSPNet": 8, "DeepLabV3": 8, "DeepLabV3Plus": 16, "PAN": 16}  # these halve less often than five times


def _architecture(name: object) -> object:
    if name not in ARCHITECTURES:
        lower = {known.lower(): known for known in ARCHITECTURES}
        near = difflib.get_close_matches(str(name).lower(), lower, n=1)
        hint = f"; did you mean {lower[near[0]]}?" if near else ""
        raise ValueError(f"must be one of {', '.join(ARCHITECTURES)}{hint}")
    return name


Architecture = Annotated[ArchitectureName, BeforeValidator(_architecture)]


class UNetModel(Section):
    """The U-Net of this project (Ronneberger et al. 2015)."""

    family: Literal["unet"]
    base_channels: int = Field(ge=1, le=1024)
    depth: int = Field(ge=1, le=8)
    up: Literal["transpose", "bilinear"]
    skip: Literal["concat", "add", "none"]
    norm: Literal["batch", "group", "none"]
    dropout: float = Field(ge=0, le=0.9, allow_inf_nan=False)

    @property
    def size_divisor(self) -> int:
        """Height and width must be multiples of this: each of `depth` poolings halves them."""
        return 1 << self.depth


class SmpModel(Section):
    """An architecture of segmentation-models-pytorch on an encoder, pretrained or not."""

    family: Literal["smp"]
    architecture: Architecture
    encoder: str = Field(min_length=1)  # smp knows some and timm a thousand: looked up once they are imported
    pretrained: bool
    dropout: Annotated[float, Field(ge=0, le=0.9, allow_inf_nan=False)] = 0.0  # of the decoder's last feature maps
    drop_path: Annotated[float, Field(ge=0, le=0.9, allow_inf_nan=False)] = 0.0  # of the encoder's residual blocks

    @field_validator("pretrained")
    @classmethod
    def _weights_come_with_pip(cls, pretrained: bool, info: ValidationInfo) -> bool:
        encoder = info.data.get("encoder")
        if pretrained and encoder is not None and not has_weights(encoder):
            raise ValueError(
                f"must be false for the encoder {encoder}, since only {', '.join(PRETRAINED[:-1])} and "
                f"{PRETRAINED[-1]} have their weights in pip packages and nothing is downloaded"
            )
        return pretrained

    @property
    def size_divisor(self) -> int:
        """What height and width must be multiples of.

        32, since encoders halve five times, and DPT's lowest level is as small; less where the architecture dilates
        instead, or stops halfway. (Unet alone would take any size, and stretch maps that then lie askew over their
        partners.)
        """
        return DILATED.get(self.architecture, 32)

    @property
    def smallest_size(self) -> int:
        """Height and width must be at least this: PAN halves a sixteenth of the image three times more."""
        return 128 if self.architecture == "PAN" else self.size_divisor


def has_weights(encoder: str) -> bool:
    """Whether a pip package holds this encoder's ImageNet weights; `tu-`, smp's mark for timm's names, may be there."""
    return encoder.removeprefix("tu-") in PRETRAINED


class KerasPetsModel(Section):
    """The network of Keras' pets example, which has no options."""

    family: Literal["keras_pets"]

    @property
    def size_divisor(self) -> int:
        """A convolution of stride 2 and three poolings halve the image."""
        return 16


class OwnModel(Section):
    """A user's own network: `build(channels=..., classes=...)` of a module in `custom/` or of an installed package."""

    family: Literal["own"]
    factory: Factory
    size_divisor: int = Field(ge=1, le=2048)  # what the network can halve, which nobody else knows


Model = Annotated[UNetModel | SmpModel | KerasPetsModel | OwnModel, Field(discriminator="family")]
