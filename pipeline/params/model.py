"""Schema of the section `model` of `params.yaml`: one model per family."""

from __future__ import annotations

import difflib
from typing import Annotated, Literal, get_args

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator

from pipeline.params.import_path import ImportPath
from pipeline.params.section import Section

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
ARCHITECTURES: tuple[str, ...] = get_args(ArchitectureName)
PRETRAINED = ("tf_efficientnet_lite0", "tf_efficientnet_lite1", "tf_efficientnet_lite2")  # weights in pip packages
DILATED = {"PSPNet": 8, "DeepLabV3": 8, "DeepLabV3Plus": 16, "PAN": 16}  # size multiples; others halve five times


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
    upsampling: Literal["transpose", "bilinear"]
    skip_connections: Literal["concat", "add", "none"]
    norm: Literal["batch", "group", "none"]
    dropout: float = Field(ge=0, le=0.9, allow_inf_nan=False)

    @property
    def size_multiple(self) -> int:
        """Factor of height and width: each of `depth` poolings halves them."""
        return 1 << self.depth


class SmpModel(Section):
    """An architecture of segmentation-models-pytorch on an encoder, pretrained or not."""

    family: Literal["smp"]
    architecture: Architecture
    encoder: str = Field(min_length=1)  # checked when smp and timm are imported
    pretrained: bool
    dropout: Annotated[float, Field(ge=0, le=0.9, allow_inf_nan=False)] = 0.0  # of the decoder's last feature maps
    drop_path: Annotated[float, Field(ge=0, le=0.9, allow_inf_nan=False)] = 0.0  # of the encoder's residual blocks

    @field_validator("pretrained")
    @classmethod
    def _check_weights_exist(cls, pretrained: bool, info: ValidationInfo) -> bool:
        encoder = info.data.get("encoder")
        if pretrained and encoder is not None and not has_weights(encoder):
            raise ValueError(
                f"must be false for the encoder {encoder}, since only {', '.join(PRETRAINED[:-1])} and "
                f"{PRETRAINED[-1]} have their weights in pip packages and nothing is downloaded"
            )
        return pretrained

    @property
    def size_multiple(self) -> int:
        """Factor of height and width.

        32, since encoders halve five times, and DPT's lowest level is as small; less for architectures with dilated
        convolutions. (Unet would accept any size, and interpolate feature maps that no longer align.)
        """
        return DILATED.get(self.architecture, 32)

    @property
    def smallest_size(self) -> int:
        """Minimum height and width: PAN halves a sixteenth of the image three more times."""
        return 128 if self.architecture == "PAN" else self.size_multiple


def has_weights(encoder: str) -> bool:
    """Return whether a pip package has this encoder's ImageNet weights; smp's prefix `tu-` is optional."""
    return encoder.removeprefix("tu-") in PRETRAINED


class KerasPetsModel(Section):
    """The network of Keras' pets example, without options."""

    family: Literal["keras_pets"]

    @property
    def size_multiple(self) -> int:
        """Factor of height and width: a convolution of stride 2 and three poolings halve them."""
        return 16


class CustomModel(Section):
    """A user's own network: `build(channels=..., classes=...)` in a module of `custom/` or of an installed package."""

    family: Literal["custom"]
    import_path: ImportPath
    size_multiple: int = Field(ge=1, le=2048)  # factor of height and width that the network needs


Model = Annotated[UNetModel | SmpModel | KerasPetsModel | CustomModel, Field(discriminator="family")]
