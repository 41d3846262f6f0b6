"""What `params.yaml` may say: frozen, typed models; unknown keys are refused.

A module a section: `data`, `model`, `train`; the rest stands here. `file` reads and checks the whole file, `merging`
lays a variant's changes over the base, `complaints` words what is wrong.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, ValidationError

from pipeline.errors import PipelineError
from pipeline.params.complaints import describe
from pipeline.params.data import Data
from pipeline.params.data.fields import TrainImages
from pipeline.params.merging import merged
from pipeline.params.model import Model, OwnModel
from pipeline.params.section import Section
from pipeline.params.train import OwnOptimiser, Train

Checked = TypeVar("Checked", bound=BaseModel)


def _with_point(rate: object) -> object:
    if isinstance(rate, int) and not isinstance(rate, bool) and rate > 0:
        raise ValueError(f"must be written with a decimal point, {rate}.0: DVC names the run by what is written")
    return rate


def _file_in(folder: str) -> AfterValidator:
    def check(name: str) -> str:
        if not name or Path(name).name != name:
            raise ValueError(f"must be the name of a file in {folder}, without a folder")
        return name

    return AfterValidator(check)


LearningRate = Annotated[float, Field(gt=0, allow_inf_nan=False), BeforeValidator(_with_point)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]


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


class Verdict(Section):
    """Where one verdict ends and the next begins; `pipeline.analysis.verdict.judge` says how they are tried."""

    underfitting: float = Field(gt=0, le=1)
    memorising: float = Field(gt=1, allow_inf_nan=False)
    overfitting: float = Field(gt=0, allow_inf_nan=False)


class Tracking(Section):
    """Where MLflow listens."""

    uri: str | None
    experiment: str = Field(min_length=1)


class Cluster(Section):
    """What a run asks of a Ray cluster, beside a processor for each of `train.threads`."""

    memory: float | None = Field(default=None, gt=0, allow_inf_nan=False)  # GB; None: measured for each variant
    resources: dict[str, Annotated[float, Field(gt=0, allow_inf_nan=False)]] = Field(default_factory=dict)


class Reference(Section):
    """Other people's results, shown beside the runs."""

    name: str = Field(min_length=1)
    source: str = Field(min_length=1)  # whose they are, and where they stand
    file: Annotated[str, _file_in("reports/references/")]


PhotographFile = Annotated[str, _file_in("reports/showcase/")]


class Photograph(Section):
    """A photograph of the user's own, to be cut out by the best run."""

    file: PhotographFile
    title: str = ""  # empty: the file's name
    mask: PhotographFile | None = None  # of what is truly there, as the data's masks are


class Report(Section):
    """What the page says beside the results."""

    title: str = Field(min_length=1)
    author: str
    course: str
    notes: str = Field(min_length=1)  # path of the author's words, Markdown
    showcase: list[Photograph] = Field(max_length=6)  # the page must stay small enough to mail
    references: list[Reference]


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

    @property
    def own_factories(self) -> dict[str, str]:
        """The import paths of the user's own network and optimizer, by the key that names them."""
        chosen = {"model.factory": self.model, "train.optimiser.factory": self.train.optimiser}
        return {key: one.factory for key, one in chosen.items() if isinstance(one, OwnModel | OwnOptimiser)}


class Params(Section):
    """The whole of `params.yaml`."""

    data: Data
    model: Model
    train: Train
    variants: dict[str, Variant]
    grid: Grid
    evaluation: Evaluation
    verdict: Verdict
    tracking: Tracking
    cluster: Cluster = Cluster()
    report: Report

    def cell(self, variant: str, learning_rate: float, seed: int) -> Cell:
        """The parameters of one cell; raises `PipelineError` where the variant is unknown or wrong."""
        if variant not in self.variants:
            raise PipelineError(
                f"There is no variant '{variant}'; variants: defines {', '.join(sorted(self.variants))}."
            )
        overrides = self.variants[variant]
        return validate(
            Cell,
            {
                "variant": variant,
                "learning_rate": learning_rate,
                "seed": seed,
                "model": merged(self.model.model_dump(), overrides.model),
                "train": merged(self.train.model_dump(), overrides.train),
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
