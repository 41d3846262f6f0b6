"""What `params.yaml` may say: frozen, typed models; unknown keys are refused.

`params_data.py` has the section `data`; `params_file.py` reads the file and checks what no single key shows;
`complaints.py` words what is wrong.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, ValidationError

from pipeline.complaints import describe
from pipeline.errors import PipelineError
from pipeline.params_data import Data, TrainImages
from pipeline.section import Section

Checked = TypeVar("Checked", bound=BaseModel)

Positive = Annotated[int, Field(ge=1)]
Fraction = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


def _with_point(rate: object) -> object:
    if isinstance(rate, int) and not isinstance(rate, bool) and rate > 0:
        raise ValueError(f"must be written with a decimal point, {rate}.0: DVC names the run by what is written")
    return rate


LearningRate = Annotated[float, Field(gt=0, allow_inf_nan=False), BeforeValidator(_with_point)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]


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


class VariantData(Section):
    """What a variant may change of the data: how much of it is seen."""

    train_images: TrainImages | None


class Variant(Section):
    """Overrides of `model`, `train` and `data.train_images`; what is not named stays as the base has it."""

    model: dict[str, Any] = Field(default_factory=dict)
    train: dict[str, Any] = Field(default_factory=dict)
    data: VariantData | None = None


class Grid(Section):
    """Variants × learning rates × seeds."""

    variant: list[str] = Field(min_length=1)
    learning_rate: list[LearningRate] = Field(min_length=1)
    seed: list[Seed] = Field(min_length=1)


class Evaluation(Section):
    """What `evaluate` keeps for the eye."""

    examples: int = Field(ge=1, le=50)


class Tracking(Section):
    """Where MLflow listens."""

    uri: str | None
    experiment: str = Field(min_length=1)


class Report(Section):
    """What stands in the head of the page."""

    title: str = Field(min_length=1)
    author: str
    course: str


class Cell(Section):
    """One cell of the grid, its variant's overrides applied: all that its numbers depend on but data and code."""

    variant: str
    learning_rate: LearningRate
    seed: Seed
    model: Model
    train: Train
    train_images: TrainImages | None

    @property
    def name(self) -> str:
        """The run's name, the same in DVC, on disk and in MLflow."""
        return f"{self.variant}-{self.learning_rate}-{self.seed}"


class Params(Section):
    """The whole of `params.yaml`."""

    data: Data
    model: Model
    train: Train
    variants: dict[str, Variant]
    grid: Grid
    evaluation: Evaluation
    tracking: Tracking
    report: Report

    def cell(self, variant: str, learning_rate: float, seed: int) -> Cell:
        """The parameters of one cell; raises `PipelineError` where the variant is unknown or wrong."""
        if variant not in self.variants:
            raise PipelineError(
                f"There is no variant '{variant}'; variants: defines {', '.join(sorted(self.variants))}."
            )
        overrides = self.variants[variant]
        base = self.model.model_dump() if overrides.model.get("family", self.model.family) == self.model.family else {}
        return validate(
            Cell,
            {
                "variant": variant,
                "learning_rate": learning_rate,
                "seed": seed,
                # The keys of one family mean nothing to another, which therefore replaces the section whole.
                "model": _merged(base, overrides.model),
                "train": _merged(self.train.model_dump(), overrides.train),
                "train_images": overrides.data.train_images if overrides.data else self.data.train_images,
            },
            where=f"variants.{variant}",
        )

    def cells(self) -> list[Cell]:
        """The grid, variants outermost."""
        return [
            self.cell(variant, rate, seed)
            for variant in self.grid.variant
            for rate in self.grid.learning_rate
            for seed in self.grid.seed
        ]


def validate(model: type[Checked], content: dict[Any, Any], where: str) -> Checked:
    """The content as a model; raises `PipelineError` with a line a mistake, keys being under `where`.

    Validated as JSON: strict about types, yet a list is welcome where a tuple is meant.
    """
    try:
        return model.model_validate_json(json.dumps(content, default=str))
    except ValidationError as error:
        raise PipelineError("\n".join(describe(error, model, where))) from None
    except (TypeError, ValueError) as error:  # a key that is a list or a date, a section that holds itself
        raise PipelineError(f"{where or 'the file'} holds what no parameter can be: {error}.") from None


def _merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Changes laid over the base, section by section."""
    result = dict(base)
    for key, value in changes.items():
        old = result.get(key)
        result[key] = _merged(old, value) if isinstance(value, dict) and isinstance(old, dict) else value
    return result
