"""What `params.yaml` may say: frozen, typed models; unknown keys are refused.

Every range is checked here, before anything runs, for each variant of the grid. `complaints.py` words what is wrong.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from pipeline.complaints import describe
from pipeline.errors import PipelineError

PARAMS_FILE = Path("params.yaml")
VARIANT_NAME = re.compile(r"[a-z0-9_]+")

Checked = TypeVar("Checked", bound=BaseModel)

Positive = Annotated[int, Field(ge=1)]
Fraction = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


def _with_point(rate: object) -> object:
    if isinstance(rate, int) and not isinstance(rate, bool) and rate > 0:
        raise ValueError(f"must be written with a decimal point, {rate}.0: DVC names the run by what is written")
    return rate


LearningRate = Annotated[float, Field(gt=0, allow_inf_nan=False), BeforeValidator(_with_point)]


class Section(BaseModel):
    """The manner of every section: immutable, strict about types, closed to unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Samples(Section):
    """How many samples `prepare` makes for each split."""

    train: int = Field(ge=2)
    validation: int = Field(ge=1)
    test: int = Field(ge=1)


class Data(Section):
    """Where images and masks come from, and their size."""

    source: Literal["sample"]
    path: str = Field(min_length=1)
    image_size: int = Field(ge=16, le=2048)
    samples: Samples
    seed: int = Field(ge=0)
    train_images: int | None = Field(ge=2)


class UNetModel(Section):
    """The U-Net of this project (Ronneberger et al. 2015)."""

    family: Literal["unet"]
    base_channels: int = Field(ge=1, le=1024)
    depth: int = Field(ge=1, le=8)
    up: Literal["transpose", "bilinear"]
    skip: Literal["concat", "add", "none"]

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


Model = Annotated[UNetModel | SmpModel, Field(discriminator="family")]


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
    batch_size: Positive
    objective: Literal["cross_entropy"]
    optimiser: Literal["adamw"]
    weight_decay: float = Field(ge=0, allow_inf_nan=False)
    schedule: Literal["one_cycle"]
    augmentation: Augmentation | None
    precision: Literal["auto", "float32", "bfloat16"]
    threads: Positive


class Grid(Section):
    """Variants × learning rates × seeds."""

    variant: list[str] = Field(min_length=1)
    learning_rate: list[LearningRate] = Field(min_length=1)
    seed: list[Annotated[int, Field(ge=0, lt=2**32)]] = Field(min_length=1)


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
    learning_rate: float
    seed: int
    model: Model
    train: Train
    train_images: int | None

    @property
    def name(self) -> str:
        """The run's name, the same in DVC, on disk and in MLflow."""
        return f"{self.variant}-{self.learning_rate}-{self.seed}"


class Params(Section):
    """The whole of `params.yaml`."""

    data: Data
    model: Model
    train: Train
    variants: dict[str, dict[str, Any]]
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
        base = self.model_dump(include={"model", "train", "data"})
        merged = _override(base, self.variants[variant])
        where = f"variants.{variant}"
        return _validate(
            Cell,
            {
                "variant": variant,
                "learning_rate": learning_rate,
                "seed": seed,
                "model": merged["model"],
                "train": merged["train"],
                "train_images": merged["data"]["train_images"],
            },
            where,
        )

    def cells(self) -> list[Cell]:
        """The grid, variants outermost."""
        return [
            self.cell(variant, rate, seed)
            for variant in self.grid.variant
            for rate in self.grid.learning_rate
            for seed in self.grid.seed
        ]


def read_params(path: Path = PARAMS_FILE) -> Params:
    """Read and check a parameter file, all variants of its grid included.

    Raises `PipelineError` with every mistake found, a line each.
    """
    try:
        # The parser that DVC uses: YAML 1.2, where 1e-3 is a number.
        content = YAML(typ="safe").load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise PipelineError(f"{path} is missing. Run this in the project's folder, where {path} stands.") from None
    except (YAMLError, UnicodeDecodeError) as error:
        raise PipelineError(f"{path} is not valid YAML: {error}") from None
    if not isinstance(content, dict):
        raise PipelineError(f"{path} must hold sections such as data: and grid:, but holds {content!r}.")
    try:
        params = _validate(Params, content, "")
        mistakes = _cross_checks(params)
    except PipelineError as error:
        mistakes = str(error).splitlines()
    if mistakes:
        raise PipelineError("\n".join(f"{path}: {mistake}" for mistake in mistakes))
    return params


def schema() -> dict[str, Any]:
    """The JSON schema of `params.yaml`."""
    return Params.model_json_schema()


def _validate(model: type[Checked], content: dict[str, Any], where: str) -> Checked:
    """Validate as JSON: strict about types, yet a YAML list is welcome where a list is meant."""
    try:
        return model.model_validate_json(json.dumps(content, default=str))
    except ValidationError as error:
        raise PipelineError("\n".join(describe(error, model, where))) from None


def _override(base: dict[str, Any], overrides: dict[str, Any]) -> dict[str, Any]:
    """Overrides laid over the base, section by section; another family replaces `model` whole."""
    merged = dict(base)
    for key, value in overrides.items():
        old = base.get(key)
        another_family = isinstance(value, dict) and isinstance(old, dict) and "family" in value
        if (
            isinstance(value, dict)
            and isinstance(old, dict)
            and not (another_family and value["family"] != old.get("family"))
        ):
            merged[key] = _override(old, value)
        else:
            merged[key] = value
    return merged


def _cross_checks(params: Params) -> list[str]:
    """What no single key shows: names, doubles, sizes and counts that do not fit together."""
    mistakes = [
        f"variants.{name}: a variant's name may hold a-z, 0-9 and _, since folders are named by it; rename it."
        for name in params.variants
        if not VARIANT_NAME.fullmatch(name)
    ]
    for key in ("variant", "learning_rate", "seed"):
        values = getattr(params.grid, key)
        mistakes += [
            f"grid.{key}: {value} stands there more than once; a cell is trained once, remove the double."
            for value in sorted(set(values))
            if values.count(value) > 1
        ]
    for name, overrides in params.variants.items():
        mistakes += _variant_checks(params, name, overrides)
    return mistakes + [
        f"grid.variant: '{name}' is not among variants: {', '.join(params.variants)}. Define it there or remove it."
        for name in params.grid.variant
        if name not in params.variants
    ]


def _variant_checks(params: Params, name: str, overrides: dict[str, Any]) -> list[str]:
    where = f"variants.{name}"
    if foreign := sorted(set(overrides) - {"model", "train", "data"}):
        return [f"{where}.{key}: a variant may override model, train and data.train_images only." for key in foreign]
    if isinstance(overrides.get("data"), dict) and set(overrides["data"]) - {"train_images"}:
        return [f"{where}.data: a variant may override train_images only; all runs share the prepared data."]
    try:
        cell = params.cell(name, params.grid.learning_rate[0], params.grid.seed[0])
    except PipelineError as error:
        return str(error).splitlines()
    mistakes = []
    size, divisor = params.data.image_size, cell.model.size_divisor
    if size % divisor:
        below, above = size // divisor * divisor, (size // divisor + 1) * divisor
        nearest = f"{below} or {above}" if below else str(above)
        mistakes.append(
            f"data.image_size: {size} px cannot be halved as often as variant '{name}' needs (multiples of {divisor}); "
            f"set {nearest}, or a smaller depth."
        )
    if cell.train_images is not None and cell.train_images > params.data.samples.train:
        mistakes.append(
            f"{where}: train_images is {cell.train_images}, more than data.samples.train, {params.data.samples.train}."
        )
    return mistakes
