"""Schema of `params.yaml`: frozen, typed models without unknown keys.

`data`, `model` and `train` have a module each; the other sections are here. `file` reads and checks the file, `section`
merges a variant's overrides into the base, `error_messages` formats validation errors.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, ValidationError

from pipeline.errors import PipelineError
from pipeline.params.data import Data
from pipeline.params.data.fields import TrainImages
from pipeline.params.error_messages import describe_errors
from pipeline.params.model import CustomModel, Model
from pipeline.params.section import Section, merge_overrides
from pipeline.params.train import CustomOptimizer, Train

Checked = TypeVar("Checked", bound=BaseModel)


def _require_decimal_point(rate: object) -> object:
    if isinstance(rate, int) and not isinstance(rate, bool) and rate > 0:
        raise ValueError(f"must be written with a decimal point, {rate}.0: DVC uses the text in the run's name")
    return rate


def _file_in(folder: str) -> AfterValidator:
    def check(name: str) -> str:
        if not name or Path(name).name != name:
            raise ValueError(f"must be the name of a file in {folder}, without a folder")
        return name

    return AfterValidator(check)


LearningRate = Annotated[float, Field(gt=0, allow_inf_nan=False), BeforeValidator(_require_decimal_point)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]


class VariantData(Section):
    """A variant's override of the data: the number of training images."""

    max_train_images: TrainImages | None
    """Number of training images; null: all."""


class Variant(Section):
    """Overrides of `model`, `train` and `data.max_train_images`."""

    model: dict[str, Any] = Field(default_factory=dict)
    """Overrides of `model`; another family replaces the whole section."""
    train: dict[str, Any] = Field(default_factory=dict)
    """Overrides of `train`."""
    data: VariantData | None = None
    """Overrides of `data`."""


class Grid(Section):
    """Variants × learning rates × seeds."""

    variant: list[str] = Field(min_length=1)
    """Names under `variants`."""
    learning_rate: list[LearningRate] = Field(min_length=1)
    """Highest learning rate of a run; factors of 3 or 10 are usual steps."""
    seed: list[Seed] = Field(min_length=1)
    """Seeds of initialization, order and augmentation; three or more show the variation."""


class Evaluation(Section):
    """Predictions that `evaluate` keeps as examples."""

    examples: int = Field(ge=1, le=50)
    """Validation images, evenly spaced, whose predicted masks are kept."""
    tile_overlap: Annotated[float, Field(ge=0, le=0.9, allow_inf_nan=False)] = 0.5
    """Least share of a tile's side that its neighbor covers too, where native images are predicted in tiles."""


class Verdict(Section):
    """Thresholds of the verdicts; `pipeline.analysis.verdict.judge` applies them."""

    underfitting: float = Field(gt=0, le=1)
    """Training loss, as a fraction of the class-prior baseline, above which a run is underfitting."""
    memorizing: float = Field(gt=1, allow_inf_nan=False)
    """Ratio of validation to training loss at the last epoch from which a run is memorizing."""
    overfitting: float = Field(gt=0, allow_inf_nan=False)
    """Relative rise of the validation loss after its onset from which a run is overfitting."""


class Tracking(Section):
    """Address of MLflow."""

    uri: str | None
    """Address of an MLflow server; null: `mlflow.db`. `MLFLOW_TRACKING_URI` takes precedence."""
    experiment: str = Field(min_length=1)
    """Name of the experiment."""


class RayResources(Section):
    """Resources of a run on a Ray cluster, beside one CPU for each of `train.num_threads`."""

    memory_gb: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """Main memory per run in GB; null: measured for each variant before the sweep."""
    resources: dict[str, Annotated[float, Field(gt=0, allow_inf_nan=False)]] = Field(default_factory=dict)
    """Custom resources of the cluster per run, such as `{large: 1}`."""


class ExternalResult(Section):
    """External results, shown beside the runs."""

    name: str = Field(min_length=1)
    """Name in the report."""
    source: str = Field(min_length=1)
    """Author and publication."""
    file: Annotated[str, _file_in("reports/external_results/")]
    """File in `reports/external_results/`."""


ShowcaseFile = Annotated[str, _file_in("reports/showcase/")]


class ShowcaseImage(Section):
    """An image of the user, segmented by the best run for the report."""

    file: ShowcaseFile
    """Image in `reports/showcase/`."""
    title: str = ""
    """Caption; empty: the name of the file."""
    mask: ShowcaseFile | None = None
    """Ground truth in `reports/showcase/`, encoded like the data's masks."""


class Report(Section):
    """Title, author and other content of the learning report."""

    title: str = Field(min_length=1)
    """Title of the report."""
    author: str
    """Author; may be empty."""
    subtitle: str
    """Course, team or laboratory; may be empty."""
    notes_file: str = Field(min_length=1)
    """Markdown file with the introduction."""
    showcase: list[ShowcaseImage] = Field(max_length=6)
    """Images that the best run segments for the top of the page; at most six, so that the report fits into a mail."""
    external_results: list[ExternalResult]
    """Other people's results, shown next to the runs."""


class Cell(Section):
    """One cell of the grid with its variant's overrides: all that its results depend on except data and code."""

    variant: str
    learning_rate: LearningRate
    seed: Seed
    model: Model
    train: Train
    max_train_images: TrainImages | None

    @property
    def name(self) -> str:
        """The run's name, the same in DVC, on disk and in MLflow."""
        return f"{self.variant}-{self.learning_rate}-{self.seed}"

    @property
    def custom_import_paths(self) -> dict[str, str]:
        """The import paths of the user's own network and optimizer, by the key that names them."""
        chosen = {"model.import_path": self.model, "train.optimizer.import_path": self.train.optimizer}
        return {key: one.import_path for key, one in chosen.items() if isinstance(one, CustomModel | CustomOptimizer)}


class Params(Section):
    """The whole of `params.yaml`."""

    data: Data
    """Source of images and masks."""
    model: Model
    """Network of the base; variants override it."""
    train: Train
    """Training settings of the base; variants override them."""
    variants: dict[str, Variant]
    """Named overrides of `model`, `train` and the number of training images."""
    grid: Grid
    """Combinations to train."""
    evaluation: Evaluation
    """Predictions that are kept."""
    verdict: Verdict
    """Thresholds of the verdicts."""
    tracking: Tracking
    """Address of MLflow."""
    ray: RayResources = RayResources()
    """Resources of a run on a Ray cluster."""
    report: Report
    """Content of the report."""

    def cell(self, variant: str, learning_rate: float, seed: int) -> Cell:
        """Return the parameters of one cell.

        Raises:
            PipelineError: The variant is unknown or invalid.
        """
        if variant not in self.variants:
            raise PipelineError(
                f"Unknown variant '{variant}'. `variants` in params.yaml defines {', '.join(sorted(self.variants))}."
            )
        overrides = self.variants[variant]
        return validate(
            Cell,
            {
                "variant": variant,
                "learning_rate": learning_rate,
                "seed": seed,
                "model": merge_overrides(self.model.model_dump(), overrides.model),
                "train": merge_overrides(self.train.model_dump(), overrides.train),
                "max_train_images": overrides.data.max_train_images if overrides.data else self.data.max_train_images,
            },
            where=f"variants.{variant}",
        )

    def cells(self) -> list[Cell]:
        """List the cells of the grid, by variant, learning rate and seed."""
        return [
            self.cell(variant, rate, seed)
            for variant in self.grid.variant
            for rate in self.grid.learning_rate
            for seed in self.grid.seed
        ]

    def select_runs(self, targets: Sequence[str]) -> list[str]:
        """List the runs of the grid that match targets, in its order; all runs without targets.

        Targets are names, or patterns with `*`; DVC's `train@<run>` and `evaluate@<run>` are accepted.

        Raises:
            PipelineError: A target matches no run.
        """
        names = [cell.name for cell in self.cells()]
        patterns = [target.removeprefix("train@").removeprefix("evaluate@") for target in targets]
        for target, pattern in zip(targets, patterns, strict=True):
            if not any(fnmatchcase(name, pattern) for name in names):
                raise PipelineError(f"'{target}' matches no run of the grid, whose runs are {names[0]} to {names[-1]}.")
        return [name for name in names if not patterns or any(fnmatchcase(name, pattern) for pattern in patterns)]


def validate(model: type[Checked], content: dict[Any, Any], where: str) -> Checked:
    """Validate content as JSON: strict about types, but lists are accepted for tuples.

    `where` is the key of the content in the file, for messages.

    Raises:
        PipelineError: The content is invalid; one line per error.
    """
    try:
        return model.model_validate_json(json.dumps(content, default=str))
    except ValidationError as error:
        raise PipelineError("\n".join(describe_errors(error, model, where))) from None
    except (TypeError, ValueError) as error:  # a key that is a list or a date, or a section that contains itself
        raise PipelineError(f"{where or 'the file'} contains a value that is not allowed: {error}.") from None
