"""What the section `model` of `params.yaml` may say: a model a family."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from pipeline.params.section import Section


def _module_and_callable(factory: str) -> str:
    module, _, name = factory.partition(":")
    if not name.isidentifier() or not all(part.isidentifier() for part in module.split(".")):
        raise ValueError("must be module:callable, such as my_package.my_net:build")
    return factory


Factory = Annotated[str, AfterValidator(_module_and_callable)]


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
    architecture: Literal["Unet"]
    encoder: Literal["tf_efficientnet_lite0"]
    pretrained: bool

    @property
    def size_divisor(self) -> int:
        """The encoder halves the image five times."""
        return 32


class KerasPetsModel(Section):
    """The network of Keras' pets example, which has no options."""

    family: Literal["keras_pets"]

    @property
    def size_divisor(self) -> int:
        """A convolution of stride 2 and three poolings halve the image."""
        return 16


class OwnModel(Section):
    """A network of the user's: `build(channels=..., classes=...)` of a module in the project's folder."""

    family: Literal["own"]
    factory: Factory
    size_divisor: int = Field(ge=1, le=2048)  # what the network can halve, which nobody else knows


Model = Annotated[UNetModel | SmpModel | KerasPetsModel | OwnModel, Field(discriminator="family")]
