"""What the section `train` of `params.yaml` may say."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from pipeline.params.section import Section

Positive = Annotated[int, Field(ge=1)]
Fraction = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class Augmentation(Section):
    """Ranges of the random changes; each sample draws its own."""

    flip: Fraction
    scale: Annotated[float, Field(ge=0, lt=1)]
    rotation: Annotated[float, Field(ge=0, le=180)]
    shift: Annotated[float, Field(ge=0, lt=1)]
    light: Annotated[float, Field(ge=0, lt=1)]


class Train(Section):
    """How a network is trained; the learning rate itself stands in the grid."""

    epochs: int = Field(ge=1, le=100_000)
    batch_size: int = Field(ge=2)  # batch normalisation has no spread to divide by in one image
    objective: Literal["cross_entropy"]
    optimiser: Literal["adamw"]
    weight_decay: float = Field(ge=0, allow_inf_nan=False)
    schedule: Literal["one_cycle"]
    augmentation: Augmentation | None
    precision: Literal["auto", "float32", "bfloat16"]
    threads: Positive
