"""What the section `train` of `params.yaml` may say."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from pipeline.params.factory import Factory
from pipeline.params.section import Section

Positive = Annotated[int, Field(ge=1)]
Fraction = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
BelowOne = Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)]
Decay = Annotated[float, Field(ge=0, allow_inf_nan=False)]

Objective = Literal["cross_entropy", "dice", "cross_entropy_dice", "focal"]


class AdamW(Section):
    """Adam with the weights' decay apart from the gradient (Loshchilov and Hutter 2019)."""

    name: Literal["adamw"]
    weight_decay: Decay


class Adam(Section):
    """Adaptive moments (Kingma and Ba 2015); its decay is an L2 penalty, a part of the gradient."""

    name: Literal["adam"]
    weight_decay: Decay


class RMSprop(Section):
    """Steps divided by a running root mean square of the gradient (Hinton 2012)."""

    name: Literal["rmsprop"]
    smoothing: BelowOne  # of the mean of squares: the share that stays in a step; torch's alpha, Keras' rho
    momentum: BelowOne
    weight_decay: Decay


class SGD(Section):
    """Stochastic gradient descent, with momentum where it is not 0."""

    name: Literal["sgd"]
    momentum: BelowOne
    nesterov: bool
    weight_decay: Decay

    @field_validator("nesterov")
    @classmethod
    def _looks_along_a_momentum(cls, nesterov: bool, before: ValidationInfo) -> bool:
        if nesterov and before.data.get("momentum") == 0:
            raise ValueError("must be false where momentum is 0, since it looks ahead along the momentum")
        return nesterov


def _without_ours(arguments: dict[str, Any]) -> dict[str, Any]:
    if "lr" in arguments or "params" in arguments:
        raise ValueError("must leave lr to grid.learning_rate, and params to the pipeline")
    return arguments


class OwnOptimiser(Section):
    """Any other optimiser of torch's interface, called as `factory(group_parameters, lr=..., **arguments)`."""

    name: Literal["own"]
    factory: Factory
    arguments: Annotated[dict[str, Any], AfterValidator(_without_ours)]


Optimiser = Annotated[AdamW | Adam | RMSprop | SGD | OwnOptimiser, Field(discriminator="name")]


class Constant(Section):
    """The cell's learning rate at every step."""

    name: Literal["constant"]


class Cosine(Section):
    """Up in a line, down along half a cosine towards 0 (Loshchilov and Hutter 2017, without restarts)."""

    name: Literal["cosine"]
    warm_up: BelowOne  # share of the steps


class OneCycle(Section):
    """Up along half a cosine from a 25th, down along another to nearly 0 (Smith and Topin 2018)."""

    name: Literal["one_cycle"]
    warm_up: Annotated[float, Field(gt=0, lt=1)]  # share of the steps


class ReduceOnPlateau(Section):
    """Times `factor` whenever the yardstick on validation has not fallen for more than `patience` epochs."""

    name: Literal["reduce_on_plateau"]
    factor: Annotated[float, Field(gt=0, lt=1)]
    patience: Annotated[int, Field(ge=0)]


Schedule = Annotated[Constant | Cosine | OneCycle | ReduceOnPlateau, Field(discriminator="name")]


class Augmentation(Section):
    """Ranges of the random changes; each sample draws its own."""

    flip: Fraction
    scale: BelowOne
    rotation: Annotated[float, Field(ge=0, le=180)]
    shift: BelowOne
    light: BelowOne
    colour: BelowOne
    blur: Fraction
    erase: Fraction


class Train(Section):
    """How a network is trained; the learning rate itself stands in the grid."""

    epochs: int = Field(ge=1, le=100_000)
    batch_size: int = Field(ge=2)  # batch normalisation has no spread to divide by in one image
    objective: Objective
    label_smoothing: BelowOne  # share of a pixel's truth that is spread evenly over all classes
    optimiser: Optimiser
    schedule: Schedule
    encoder_rate: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)]  # factor on the cell's learning rate
    averaging: BelowOne  # of the weights: the share of the old mean that stays in a step; 0 averages nothing
    augmentation: Augmentation | None
    precision: Literal["auto", "float32", "bfloat16"]
    threads: Positive

    @field_validator("label_smoothing")
    @classmethod
    def _smooths_a_cross_entropy(cls, smoothing: float, before: ValidationInfo) -> float:
        chosen = before.data.get("objective")
        if smoothing and chosen in ("dice", "focal"):
            raise ValueError(f"must be 0.0 with objective: {chosen}, since it is cross-entropy whose truth is smoothed")
        return smoothing
