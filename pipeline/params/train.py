"""Schema of the `train` section of `params.yaml`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, field_validator

from pipeline.params.custom_code import ImportPath
from pipeline.params.data.fields import ImageSize, list_sides
from pipeline.params.section import Section
from pipeline.wording import escape_unprintable, join_names, join_words, suggest_closest

Positive = Annotated[int, Field(ge=1)]
Fraction = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
BelowOne = Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
LrFactor = Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)]

LossName = Literal["cross_entropy", "dice", "focal", "tversky", "lovasz", "cross_entropy_dice", "cross_entropy_lovasz"]
# Losses that are a mean over pixels, so that pixels can be weighted.
WEIGHTED_LOSSES = ("cross_entropy", "focal", "cross_entropy_dice", "cross_entropy_lovasz")

ClassBalance = Literal["inverse", "median_frequency"]
MAX_CLASS_WEIGHT = 1e6


def _check_class_weights(value: object) -> object:
    # Checked before pydantic's union, which would report one error per type.
    numbers = list(value.values()) if isinstance(value, dict) else []
    valid = numbers and all(type(number) in (int, float) and 0 < number <= MAX_CLASS_WEIGHT for number in numbers)
    if not valid and value not in get_args(ClassBalance):
        raise ValueError(
            f"must be {' or '.join(get_args(ClassBalance))}, or a section with a number above 0 and up to "
            f"{MAX_CLASS_WEIGHT:,.0f} for each class, such as {{background: 1.0, cell: 10.0}}"
        )
    return value


ClassWeights = Annotated[ClassBalance | dict[str, float], BeforeValidator(_check_class_weights)]


class AdamW(Section):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019)."""

    name: Literal["adamw"]
    """Name of the optimizer."""
    weight_decay: NonNegative
    """Weight decay of all parameters except biases and normalization layers. 0 to 0.1 is usual."""


class Adam(Section):
    """Adam (Kingma and Ba 2015). Weight decay is an L2 penalty, added to the gradient."""

    name: Literal["adam"]
    """Name of the optimizer."""
    weight_decay: NonNegative
    """Factor of the L2 penalty on all parameters except biases and normalization layers. 0 to 0.1 is usual."""


class RMSprop(Section):
    """RMSprop: the gradient divided by its running root mean square (Hinton 2012)."""

    name: Literal["rmsprop"]
    """Name of the optimizer."""
    alpha: BelowOne
    """Decay of the running mean of squared gradients. torch's default is 0.99, Keras' default (rho) 0.9."""
    momentum: BelowOne
    """Momentum factor. 0.0 disables momentum."""
    weight_decay: NonNegative
    """Factor of the L2 penalty on all parameters except biases and normalization layers. 0 to 0.1 is usual."""


class SGD(Section):
    """Stochastic gradient descent, with optional momentum."""

    name: Literal["sgd"]
    """Name of the optimizer."""
    momentum: BelowOne
    """Momentum factor. 0.9 is usual, 0.0 disables momentum."""
    nesterov: bool
    """Whether to use Nesterov momentum. Requires a momentum above 0."""
    weight_decay: NonNegative
    """Factor of the L2 penalty on all parameters except biases and normalization layers. 0 to 0.1 is usual."""

    @field_validator("nesterov")
    @classmethod
    def _check_momentum(cls, nesterov: bool, before: ValidationInfo) -> bool:
        if nesterov and before.data.get("momentum") == 0:
            raise ValueError("must be false if momentum is 0")
        return nesterov


def _check_arguments(arguments: dict[str, Any]) -> dict[str, Any]:
    if "lr" in arguments or "params" in arguments:
        raise ValueError("must not contain lr (set by grid.learning_rate) or params (passed by the pipeline)")
    return arguments


class CustomOptimizer(Section):
    """Any optimizer with torch's interface, created by `callable(group_parameters, lr=..., **arguments)`."""

    name: Literal["custom"]
    """Name of the optimizer."""
    import_path: ImportPath
    """`module:callable`, in `custom/` or an installed package."""
    arguments: Annotated[dict[str, Any], AfterValidator(_check_arguments)]
    """Keyword arguments of the callable, except `lr`, which is set by the grid."""


OptimizerSettings = Annotated[AdamW | Adam | RMSprop | SGD | CustomOptimizer, Field(discriminator="name")]


class Constant(Section):
    """A constant learning rate."""

    name: Literal["constant"]
    """Name of the scheduler."""


class Cosine(Section):
    """Linear warmup, then cosine annealing towards 0 (Loshchilov and Hutter 2017, without restarts)."""

    name: Literal["cosine"]
    """Name of the scheduler."""
    warmup_fraction: BelowOne
    """Fraction of the training steps during which the learning rate increases. 0.05 to 0.3 is usual."""


class OneCycle(Section):
    """Cosine warmup from 1/25 of the peak, then cosine annealing to nearly 0 (Smith and Topin 2018)."""

    name: Literal["one_cycle"]
    """Name of the scheduler."""
    warmup_fraction: Annotated[float, Field(gt=0, lt=1)]
    """Fraction of the training steps during which the learning rate increases. 0.05 to 0.3 is usual."""


class ReduceOnPlateau(Section):
    """Reduction of the learning rate when the validation loss no longer decreases."""

    name: Literal["reduce_on_plateau"]
    """Name of the scheduler."""
    factor: Annotated[float, Field(gt=0, lt=1)]
    """Factor by which a reduction multiplies the learning rate. 0.1 to 0.5 is usual."""
    patience: Annotated[int, Field(ge=0)]
    """Number of epochs without improvement to tolerate before a reduction."""


LrSchedulerSettings = Annotated[Constant | Cosine | OneCycle | ReduceOnPlateau, Field(discriminator="name")]


class EarlyStopping(Section):
    """Conditions for ending a run whose validation loss no longer decreases."""

    patience: Positive
    """Number of epochs without improvement after which training ends. 5 to 20 is usual."""
    min_delta: NonNegative = 0.0
    """Minimum decrease of the validation loss, in nats per pixel, that counts as an improvement."""
    min_epochs: Positive = 1
    """Minimum number of epochs of a run."""


class BoundaryWeight(Section):
    """Additional weight of pixels between nearby objects (Ronneberger et al. 2015, equation 2)."""

    w0: Annotated[float, Field(gt=0, le=1000, allow_inf_nan=False)]
    """Weight where two objects touch, which is added to the class weight or to 1. The paper uses 10."""
    sigma: Annotated[float, Field(gt=0, le=100, allow_inf_nan=False)]
    """Width of the weight's decrease, in px of prepared images. The weight is w0 exp(-d² / (2 sigma²)), where d is the
    sum of the distances to the two nearest objects. The paper uses 5.
    """


class Augmentation(Section):
    """Random augmentation of training samples. Each sample gets its own random values."""

    hflip_prob: Fraction
    """Probability of a horizontal flip."""
    scale: BelowOne
    """Range of the zoom: from 1 / (1 + scale) to 1 + scale."""
    rotation: Annotated[float, Field(ge=0, le=180)]
    """Maximum rotation in degrees, in both directions."""
    translate: BelowOne
    """Maximum shift along each axis, as a fraction of the image's height or width."""
    elastic: Annotated[float, Field(ge=0, le=0.2, allow_inf_nan=False)] = 0.0
    """Standard deviation of smooth random displacements, as a fraction of the shorter side. 0.02 to 0.05 is usual."""
    brightness_contrast: BelowOne
    """Contrast is multiplied by a factor of up to 1 ± this value, and brightness is shifted by up to half this value,
    where 1 is the full range.
    """
    color_jitter: BelowOne
    """Each channel is multiplied by a factor of up to 1 ± this value, and saturation by a factor of up to 1 ± twice
    this value. 0 to 0.4 is usual.
    """
    blur_prob: Fraction
    """Probability of a blur by a mean filter of 3 x 3 px."""
    random_erasing_prob: Fraction
    """Probability of erasing a square whose side is 15 to 40% of the image's shorter side."""


class Train(Section):
    """Training settings, except the learning rate, which is in the grid."""

    epochs: int = Field(ge=1, le=100_000)
    """Number of passes over the training images. 8 to 100 is usual, more for a few dozen images."""
    batch_size: int = Field(ge=2)
    """Number of images per batch. 4 to 64 is usual. Batch normalization requires at least 2."""
    loss: LossName
    """Loss that training minimizes. The metrics `train_loss` and `val_loss` are always cross-entropy."""
    label_smoothing: BelowOne
    """Fraction of each pixel's target that is distributed evenly over all classes. 0 to 0.1 is usual."""
    class_weights: ClassWeights | None = None
    """Weights of the classes in cross-entropy: `inverse` or `median_frequency`, computed from the training pixels, or
    one number per class name. If null, all pixels have the same weight.
    """
    boundary_weight: BoundaryWeight | None = None
    """Additional weight of pixels between nearby objects in cross-entropy. If null, there is none."""
    optimizer: OptimizerSettings
    """Optimizer and its settings."""
    lr_scheduler: LrSchedulerSettings
    """Learning rate scheduler and its settings."""
    encoder_lr_factor: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
    """Factor for the encoder's learning rate. With a factor below 1, pretrained features change less. With 0, the
    encoder is frozen and only the decoder is trained, which takes less time.
    """
    encoder_layer_decay: LrFactor = 1.0
    """Layer-wise decay of the encoder's learning rate: the factor from each layer to the layer below it. 0.65 to 0.9 is
    usual for transformers.
    """
    freeze_encoder_epochs: Annotated[int, Field(ge=0)] = 0
    """Number of initial epochs in which the encoder is frozen and only the decoder is trained. To freeze it in all
    epochs, set `encoder_lr_factor` to 0.
    """
    gradient_accumulation_steps: Positive = 1
    """Number of batches whose gradients are averaged for one optimizer step. Useful if a large batch does not fit into
    memory.
    """
    max_grad_norm: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    """Maximum norm to which gradients are clipped. 1 to 10 is usual. If null, gradients are not clipped."""
    early_stopping: EarlyStopping | None = None
    """Conditions for ending a run before its last epoch. If null, no run ends early."""
    ema_decay: BelowOne
    """Decay, per step, of the exponential moving average of the weights. 0.99 is usual, 0 disables it."""
    augmentation: Augmentation | None
    """Random augmentation of training samples. If null, there is none."""
    patch_size: ImageSize | None = None
    """Side in px, or `[height, width]`, of the patches of native images that are used for training. Null unless
    `data.image_size` is `native`.
    """
    patches_per_epoch: Positive | None = None
    """Number of patches per epoch. If null, as many as cover the training images once."""
    foreground_patches: Fraction = 0.33
    """Fraction of the patches that are centered on a foreground pixel, with all foreground classes equally likely."""
    precision: Literal["auto", "float32", "bfloat16"]
    """Training precision. `auto` is bfloat16 on processors that are fast at it, and float32 on others."""
    num_threads: Positive
    """Number of CPU threads of a run. It is part of the run key, because it changes the last bits of the results."""

    @property
    def patch(self) -> tuple[int, int] | None:
        """Height and width of the patches in px; None if training uses whole images."""
        return None if self.patch_size is None else list_sides(self.patch_size)

    @property
    def frozen_epochs(self) -> int:
        """Number of initial epochs in which the encoder is frozen."""
        return self.freeze_encoder_epochs if self.encoder_lr_factor else self.epochs

    @field_validator("label_smoothing")
    @classmethod
    def _check_label_smoothing(cls, smoothing: float, before: ValidationInfo) -> float:
        chosen = before.data.get("loss")
        if smoothing and chosen is not None and not chosen.startswith("cross_entropy"):
            raise ValueError(f"must be 0.0 with loss: {chosen} (only cross-entropy supports label smoothing)")
        return smoothing

    @field_validator("class_weights", "boundary_weight")
    @classmethod
    def _check_weighted_loss(cls, weights: Any, before: ValidationInfo) -> Any:
        chosen = before.data.get("loss")
        if weights is not None and chosen is not None and chosen not in WEIGHTED_LOSSES:
            raise ValueError(
                f"must be null with loss: {chosen} (only {join_words(WEIGHTED_LOSSES)} support pixel weights)"
            )
        return weights


def find_weight_mistakes(weights: dict[str, float], names: Sequence[str]) -> list[str]:
    """Find classes without a weight, and weights of unknown classes."""
    missing = [name for name in names if name not in weights]
    mistakes = [f"train.class_weights: no weight for {join_names(missing)}; add it."] if missing else []
    return mistakes + [
        f"train.class_weights: the data has no class '{escape_unprintable(name)}'; "
        + suggest_closest(name, names, f"its classes: {join_names(names)}.")
        for name in weights
        if name not in names
    ]
