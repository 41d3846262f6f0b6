"""Schema of the section `train` of `params.yaml`."""

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
# They have a mean over pixels, which may have weights.
WEIGHTED_LOSSES = ("cross_entropy", "focal", "cross_entropy_dice", "cross_entropy_lovasz")

ClassBalance = Literal["inverse", "median_frequency"]
MAX_CLASS_WEIGHT = 1e6


def _check_class_weights(value: object) -> object:
    # One error for both types; a union of pydantic would give two.
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
    """The optimizer."""
    weight_decay: NonNegative
    """Factor of the decay; 0 to 0.1 is usual. Biases and normalization layers have none."""


class Adam(Section):
    """Adaptive moments (Kingma and Ba 2015); weight decay is an L2 penalty, added to the gradient."""

    name: Literal["adam"]
    """The optimizer."""
    weight_decay: NonNegative
    """Factor of the L2 penalty; 0 to 0.1 is usual. Biases and normalization layers have none."""


class RMSprop(Section):
    """Gradient divided by its running root mean square (Hinton 2012)."""

    name: Literal["rmsprop"]
    """The optimizer."""
    alpha: BelowOne
    """Decay of the running mean of squares; torch's default is 0.99, Keras' 0.9 (rho)."""
    momentum: BelowOne
    """Fraction of the previous step that is kept; 0.0 disables it."""
    weight_decay: NonNegative
    """Factor of the L2 penalty; 0 to 0.1 is usual. Biases and normalization layers have none."""


class SGD(Section):
    """Stochastic gradient descent, with optional momentum."""

    name: Literal["sgd"]
    """The optimizer."""
    momentum: BelowOne
    """Fraction of the previous step that is kept; 0.9 is usual, 0.0 disables it."""
    nesterov: bool
    """Whether to use Nesterov's momentum; requires a momentum."""
    weight_decay: NonNegative
    """Factor of the L2 penalty; 0 to 0.1 is usual. Biases and normalization layers have none."""

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
    """The optimizer."""
    import_path: ImportPath
    """`module:callable`, in `custom/` or in an installed package."""
    arguments: Annotated[dict[str, Any], AfterValidator(_check_arguments)]
    """Keyword arguments; `lr` is set by the grid."""


OptimizerSettings = Annotated[AdamW | Adam | RMSprop | SGD | CustomOptimizer, Field(discriminator="name")]


class Constant(Section):
    """A constant learning rate."""

    name: Literal["constant"]
    """The scheduler."""


class Cosine(Section):
    """Linear warmup, then cosine annealing towards 0 (Loshchilov and Hutter 2017, without restarts)."""

    name: Literal["cosine"]
    """The scheduler."""
    warmup_fraction: BelowOne
    """Fraction of the steps in which the learning rate increases; 0.05 to 0.3 is usual."""


class OneCycle(Section):
    """Cosine warmup from 1/25, then cosine annealing to nearly 0 (Smith and Topin 2018)."""

    name: Literal["one_cycle"]
    """The scheduler."""
    warmup_fraction: Annotated[float, Field(gt=0, lt=1)]
    """Fraction of the steps in which the learning rate increases; 0.05 to 0.3 is usual."""


class ReduceOnPlateau(Section):
    """Multiplied by `factor` when validation loss has not decreased for more than `patience` epochs."""

    name: Literal["reduce_on_plateau"]
    """The scheduler."""
    factor: Annotated[float, Field(gt=0, lt=1)]
    """Factor of each reduction; 0.1 to 0.5 is usual."""
    patience: Annotated[int, Field(ge=0)]
    """Number of tolerated epochs without improvement."""


LrSchedulerSettings = Annotated[Constant | Cosine | OneCycle | ReduceOnPlateau, Field(discriminator="name")]


class EarlyStopping(Section):
    """End a run whose validation loss no longer decreases."""

    patience: Positive
    """Epochs without an improvement after which the training ends; 5 to 20 is usual."""
    min_delta: NonNegative = 0.0
    """Least decrease of the validation loss, in nats per pixel, that counts as an improvement."""
    min_epochs: Positive = 1
    """The training never ends before this epoch."""


class BoundaryWeight(Section):
    """Weights between near objects, as in the U-Net paper (Ronneberger et al. 2015, equation 2)."""

    w0: Annotated[float, Field(gt=0, le=1000, allow_inf_nan=False)]
    """Weight of pixels where two objects touch, added to that of their class or 1; the paper's is 10."""
    sigma: Annotated[float, Field(gt=0, le=100, allow_inf_nan=False)]
    """Decrease with the sum d of the distances to the two nearest objects, exp(-d² / (2 sigma²)), in px of prepared
    images; the paper's is 5."""


class Augmentation(Section):
    """Ranges of random augmentation, drawn for each sample."""

    hflip_prob: Fraction
    """Probability of a horizontal flip."""
    scale: BelowOne
    """Zoom between 1 / (1 + scale) and 1 + scale."""
    rotation: Annotated[float, Field(ge=0, le=180)]
    """Largest rotation in degrees, in both directions."""
    translate: BelowOne
    """Largest shift as a fraction of the side, along both axes."""
    elastic: Annotated[float, Field(ge=0, le=0.2, allow_inf_nan=False)] = 0.0
    """Standard deviation of smooth random displacements, as a fraction of the shorter side; 0.02 to 0.05 is usual."""
    brightness_contrast: BelowOne
    """Contrast changes by a factor of 1 ± this value, brightness by half of it."""
    color_jitter: BelowOne
    """Each channel changes by a factor of 1 ± this value, saturation by twice as much; 0 to 0.4 is usual."""
    blur_prob: Fraction
    """Probability of a mean filter of 3 x 3 pixels."""
    random_erasing_prob: Fraction
    """Probability of erasing a square of 15 to 40 % of the side."""


class Train(Section):
    """Training settings; the learning rate is in the grid."""

    epochs: int = Field(ge=1, le=100_000)
    """Passes over the training images; 12 to 100 is usual, more for a few dozen images."""
    batch_size: int = Field(ge=2)
    """Images per step; 4 to 64 is usual. Batch normalization needs at least 2."""
    loss: LossName
    """Loss that training minimizes. `train_loss` and `val_loss` are cross-entropy, whatever it is."""
    label_smoothing: BelowOne
    """Fraction of each pixel's target that is distributed evenly over all classes; 0 to 0.1 is usual."""
    class_weights: ClassWeights | None = None
    """Weight of each class in cross-entropy: `inverse` or `median_frequency` of the training pixels, or a number for
    each class by its name; null: all pixels weigh the same."""
    boundary_weight: BoundaryWeight | None = None
    """Additional weight in cross-entropy of pixels between near objects; null: none."""
    optimizer: OptimizerSettings
    """Optimizer and its settings."""
    lr_scheduler: LrSchedulerSettings
    """Schedule of the learning rate over the training."""
    encoder_lr_factor: LrFactor
    """Factor of the encoder's learning rate; below 1 keeps more of pretrained features."""
    encoder_layer_decay: LrFactor = 1.0
    """Factor from each layer of the encoder to the layer below it; 0.65 to 0.9 is usual for transformers."""
    freeze_encoder_epochs: Annotated[int, Field(ge=0)] = 0
    """Epochs at the start in which the encoder stays as it is, and only the decoder learns."""
    gradient_accumulation_steps: Positive = 1
    """Batches whose gradients are averaged for a step, so that a step sees more images than memory holds."""
    max_grad_norm: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    """Norm to which longer gradients of a step are scaled; 1 to 10 is usual, null: none."""
    early_stopping: EarlyStopping | None = None
    """When to end a run before its last epoch; null: never."""
    ema_decay: BelowOne
    """Decay of the exponential moving average of the weights; 0.99 is usual, 0 disables it."""
    augmentation: Augmentation | None
    """Random changes of image and mask, drawn for each sample; null: none."""
    patch_size: ImageSize | None = None
    """Side of the patches of native images that training sees, or `[height, width]`; null with other image sizes."""
    patches_per_epoch: Positive | None = None
    """Patches per epoch; null: as many as cover the training images once."""
    foreground_patches: Fraction = 0.33
    """Share of the patches that are centered on a foreground pixel, of each foreground class equally often."""
    precision: Literal["auto", "float32", "bfloat16"]
    """`auto`: bfloat16 on processors that are fast in it, float32 on others."""
    num_threads: Positive
    """CPU threads of a run. Part of the run key, because it changes the last bits."""

    @property
    def patch(self) -> tuple[int, int] | None:
        """Height and width of the patches, px; None if training sees whole images."""
        return None if self.patch_size is None else list_sides(self.patch_size)

    @field_validator("label_smoothing")
    @classmethod
    def _check_label_smoothing(cls, smoothing: float, before: ValidationInfo) -> float:
        chosen = before.data.get("loss")
        if smoothing and chosen is not None and not chosen.startswith("cross_entropy"):
            raise ValueError(f"must be 0.0 with loss: {chosen}, since it is cross-entropy whose truth is smoothed")
        return smoothing

    @field_validator("class_weights", "boundary_weight")
    @classmethod
    def _check_weighted_loss(cls, weights: Any, before: ValidationInfo) -> Any:
        chosen = before.data.get("loss")
        if weights is not None and chosen is not None and chosen not in WEIGHTED_LOSSES:
            raise ValueError(
                f"must be null with loss: {chosen}, because it weighs pixels in {join_words(WEIGHTED_LOSSES)} only"
            )
        return weights


def find_weight_mistakes(weights: dict[str, float], names: Sequence[str]) -> list[str]:
    """Find classes of the data without a weight, and weights of other classes."""
    missing = [name for name in names if name not in weights]
    mistakes = [f"train.class_weights: no weight for {join_names(missing)}; add it."] if missing else []
    return mistakes + [
        f"train.class_weights: the data has no class '{escape_unprintable(name)}'; "
        + suggest_closest(name, names, f"its classes: {join_names(names)}.")
        for name in weights
        if name not in names
    ]
