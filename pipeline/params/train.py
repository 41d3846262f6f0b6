"""Schema of the section `train` of `params.yaml`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from pipeline.params.import_path import ImportPath
from pipeline.params.section import Section

Positive = Annotated[int, Field(ge=1)]
Fraction = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
BelowOne = Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)]
Decay = Annotated[float, Field(ge=0, allow_inf_nan=False)]

LossName = Literal["cross_entropy", "dice", "cross_entropy_dice", "focal"]


class AdamW(Section):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019)."""

    name: Literal["adamw"]
    weight_decay: Decay


class Adam(Section):
    """Adaptive moments (Kingma and Ba 2015); weight decay is an L2 penalty in the gradient."""

    name: Literal["adam"]
    weight_decay: Decay


class RMSprop(Section):
    """Gradient divided by its running root mean square (Hinton 2012)."""

    name: Literal["rmsprop"]
    alpha: BelowOne  # decay of the running mean of squares; rho in Keras
    momentum: BelowOne
    weight_decay: Decay


class SGD(Section):
    """Stochastic gradient descent, with optional momentum."""

    name: Literal["sgd"]
    momentum: BelowOne
    nesterov: bool
    weight_decay: Decay

    @field_validator("nesterov")
    @classmethod
    def _check_momentum(cls, nesterov: bool, before: ValidationInfo) -> bool:
        if nesterov and before.data.get("momentum") == 0:
            raise ValueError("must be false where momentum is 0, since it looks ahead along the momentum")
        return nesterov


def _check_arguments(arguments: dict[str, Any]) -> dict[str, Any]:
    if "lr" in arguments or "params" in arguments:
        raise ValueError("must leave lr to grid.learning_rate, and params to the pipeline")
    return arguments


class CustomOptimizer(Section):
    """Any optimizer with torch's interface, created by `callable(group_parameters, lr=..., **arguments)`."""

    name: Literal["custom"]
    import_path: ImportPath
    arguments: Annotated[dict[str, Any], AfterValidator(_check_arguments)]


OptimizerSettings = Annotated[AdamW | Adam | RMSprop | SGD | CustomOptimizer, Field(discriminator="name")]


class Constant(Section):
    """A constant learning rate."""

    name: Literal["constant"]


class Cosine(Section):
    """Linear warmup, then cosine annealing towards 0 (Loshchilov and Hutter 2017, without restarts)."""

    name: Literal["cosine"]
    warmup_fraction: BelowOne  # share of the steps


class OneCycle(Section):
    """Cosine warmup from 1/25, then cosine annealing to nearly 0 (Smith and Topin 2018)."""

    name: Literal["one_cycle"]
    warmup_fraction: Annotated[float, Field(gt=0, lt=1)]  # share of the steps


class ReduceOnPlateau(Section):
    """Multiplied by `factor` when validation loss has not decreased for more than `patience` epochs."""

    name: Literal["reduce_on_plateau"]
    factor: Annotated[float, Field(gt=0, lt=1)]
    patience: Annotated[int, Field(ge=0)]


LrSchedulerSettings = Annotated[Constant | Cosine | OneCycle | ReduceOnPlateau, Field(discriminator="name")]


class Augmentation(Section):
    """Ranges of random augmentation, drawn for each sample."""

    hflip_prob: Fraction
    scale: BelowOne
    rotation: Annotated[float, Field(ge=0, le=180)]
    translate: BelowOne
    brightness_contrast: BelowOne
    color_jitter: BelowOne
    blur_prob: Fraction
    random_erasing_prob: Fraction


class Train(Section):
    """Training settings; the learning rate is in the grid."""

    epochs: int = Field(ge=1, le=100_000)
    batch_size: int = Field(ge=2)  # batch normalization needs more than one image
    loss: LossName
    label_smoothing: BelowOne  # share of each pixel's target spread evenly over all classes
    optimizer: OptimizerSettings
    lr_scheduler: LrSchedulerSettings
    encoder_lr_factor: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)]  # factor on the cell's learning rate
    ema_decay: BelowOne  # decay of the exponential moving average of weights; 0: none
    augmentation: Augmentation | None
    precision: Literal["auto", "float32", "bfloat16"]
    num_threads: Positive

    @field_validator("label_smoothing")
    @classmethod
    def _check_label_smoothing(cls, smoothing: float, before: ValidationInfo) -> float:
        chosen = before.data.get("loss")
        if smoothing and chosen in ("dice", "focal"):
            raise ValueError(f"must be 0.0 with loss: {chosen}, since it is cross-entropy whose truth is smoothed")
        return smoothing
