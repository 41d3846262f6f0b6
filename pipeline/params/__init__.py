"""Schema of `params.yaml`: immutable pydantic models that reject unknown keys.

The sections `data`, `model` and `train` have their own modules; the other sections are defined here. `file` reads
and checks the file, `section` merges a variant's overrides into the base settings, and `error_messages` formats
validation errors.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, ValidationError

from pipeline.artifacts.metric_names import RankBy
from pipeline.errors import PipelineError
from pipeline.params.data import Data
from pipeline.params.data.composites import CompositesData
from pipeline.params.data.fields import ClassName, TrainImages
from pipeline.params.error_messages import describe_errors
from pipeline.params.model import CustomModel, Model
from pipeline.params.section import Section, merge_overrides
from pipeline.params.train import CustomOptimizer, Train

Checked = TypeVar("Checked", bound=BaseModel)


def _require_decimal_point(rate: object) -> object:
    if isinstance(rate, int) and not isinstance(rate, bool) and rate > 0:
        raise ValueError(f"must be written with a decimal point, as {rate}.0 (it is part of run names)")
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
    """Overrides of `data` in a variant."""

    max_train_images: TrainImages | None
    """Number of training images per run. If null, all are used."""


class Variant(Section):
    """A variant: overrides of `model`, `train` and `data.max_train_images`."""

    model: dict[str, Any] = Field(default_factory=dict)
    """Overrides of `model`. A different `family` replaces the whole section."""
    train: dict[str, Any] = Field(default_factory=dict)
    """Overrides of `train`."""
    data: VariantData | None = None
    """Overrides of `data`."""


class Grid(Section):
    """The runs to train: every combination of variant, learning rate and seed."""

    variant: list[str] = Field(min_length=1)
    """Names of variants, as defined in `variants`."""
    learning_rate: list[LearningRate] = Field(min_length=1)
    """Peak learning rates. Neighboring values usually differ by a factor of 3 or 10."""
    seed: list[Seed] = Field(min_length=1)
    """Seeds of weight initialization, sample order and augmentation. Use three or more to see how much results vary."""


class Evaluation(Section):
    """Settings for the `evaluate` stage."""

    examples: int = Field(ge=1, le=50)
    """Number of validation images, evenly spaced, whose predicted masks are kept as examples."""
    tile_overlap: Annotated[float, Field(ge=0, le=0.9, allow_inf_nan=False)] = 0.5
    """Minimum overlap of neighboring tiles, as a fraction of their side, when native images are predicted in tiles."""
    surface_tolerance: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 2.0
    """Largest distance at which outlines count as equal in the normalized surface Dice: in `data.pixel_unit` if
    `data.pixel_size` is set, otherwise in px of the prepared image.
    """
    objects: list[ClassName] | None = None
    """Names of the foreground classes whose objects are scored. If null, these are all foreground classes of data whose
    objects are known: annotations with outlines, and masks that number objects (`data.instances`). `[]` turns the
    scores of objects off. In other data, an object is a connected region.
    """
    min_object_area: int = Field(default=0, ge=0)
    """Area below which predicted objects are left out, in px of the prepared image. Objects of the ground truth are
    never left out.
    """


class Compare(Section):
    """Settings for the `compare` stage."""

    rank_by: RankBy = "val_loss"
    """Metric on validation that decides which setting is the best one, as a mean over its seeds. The best epoch of a
    run is always that with the lowest validation loss. docs/reference/metrics.md lists the metrics.
    """
    equivalence_margin: Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)] = 0.02
    """Difference below which two settings are equal for practical purposes, as a fraction of the best setting's mean.
    With 0.0, no settings are equal.
    """


class Verdict(Section):
    """Thresholds for the verdicts on runs, as applied by `pipeline.analysis.verdict.judge`."""

    underfitting: float = Field(gt=0, le=1)
    """Final training loss above which a run is underfitting, as a fraction of the class-prior baseline."""
    memorizing: float = Field(gt=1, allow_inf_nan=False)
    """Minimum ratio of validation loss to training loss at the last epoch for a run to be memorizing."""
    overfitting: float = Field(gt=0, allow_inf_nan=False)
    """Minimum relative rise of the validation loss after the onset of overfitting for a run to be overfitting."""


class Tracking(Section):
    """MLflow settings."""

    uri: str | None
    """Address of an MLflow server. If null, runs are stored in `mlflow.db`. The environment variable
    `MLFLOW_TRACKING_URI` takes precedence.
    """
    experiment: str = Field(min_length=1)
    """Name of the MLflow experiment."""


class RayResources(Section):
    """Resources of a run on a Ray cluster, in addition to `train.num_threads` CPUs."""

    memory_gb: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """Main memory per run in GB. If null, it is measured for each variant before the sweep."""
    resources: dict[str, Annotated[float, Field(gt=0, allow_inf_nan=False)]] = Field(default_factory=dict)
    """Custom Ray resources that each run requires, such as `{large: 1}`."""


class ExternalResult(Section):
    """A published curve or other people's results to show next to the runs."""

    name: str = Field(min_length=1)
    """Name to show in the report."""
    source: str = Field(min_length=1)
    """Author and publication."""
    file: Annotated[str, _file_in("reports/external_results/")]
    """Name of the file in `reports/external_results/`."""


ShowcaseFile = Annotated[str, _file_in("reports/showcase/")]


class ShowcaseImage(Section):
    """A user's image that the best run segments for the report."""

    file: ShowcaseFile
    """Name of the image file in `reports/showcase/`."""
    title: str = ""
    """Caption. If empty, the file name is shown."""
    mask: ShowcaseFile | None = None
    """Name of the ground-truth mask in `reports/showcase/`, encoded like the masks of the data, such as one number per
    object with `data.instances`. Class indices if the data has annotations or composites. Must be null if `data.masks`
    has `{class}` or `{object}`. If null, only the prediction is shown.
    """


class Report(Section):
    """Title, author and other content of the learning report."""

    title: str = Field(min_length=1)
    """Title of the report."""
    author: str
    """Author of the report. May be empty."""
    subtitle: str
    """Course, team or laboratory. May be empty."""
    notes_file: str = Field(min_length=1)
    """Markdown file with the introduction of the report."""
    showcase: list[ShowcaseImage] = Field(max_length=6)
    """Up to six images that the best run segments for the top of the report. With up to six, it fits into an email."""
    external_results: list[ExternalResult]
    """External results to show next to the runs."""


class Cell(Section):
    """Parameters of one cell of the grid, with its variant's overrides applied.

    Together with the data and the code, they determine the results of the run.
    """

    variant: str
    learning_rate: LearningRate
    seed: Seed
    model: Model
    train: Train
    max_train_images: TrainImages | None
    fold: int | None = None
    """Fold that the run is validated on. Null without cross-validation."""

    @property
    def name(self) -> str:
        """Name of the run in DVC, on disk and in MLflow."""
        return f"{self.variant}-{self.learning_rate}-{self.seed}"

    @property
    def custom_import_paths(self) -> dict[str, str]:
        """Import paths of the user's own network and optimizer, by the keys that contain them."""
        chosen = {"model.import_path": self.model, "train.optimizer.import_path": self.train.optimizer}
        return {key: one.import_path for key, one in chosen.items() if isinstance(one, CustomModel | CustomOptimizer)}


class Params(Section):
    """All sections of `params.yaml`."""

    data: Data
    """Source of images and masks."""
    model: Model
    """Default network. Variants can override it."""
    train: Train
    """Default training settings. Variants can override them."""
    variants: dict[str, Variant]
    """Named overrides of `model`, `train` and the number of training images."""
    grid: Grid
    """Combinations to train."""
    evaluation: Evaluation
    """Settings for the `evaluate` stage."""
    compare: Compare
    """Settings for the `compare` stage."""
    verdict: Verdict
    """Thresholds for the verdicts on runs."""
    tracking: Tracking
    """MLflow settings."""
    ray: RayResources = RayResources()
    """Resources of a run on a Ray cluster."""
    report: Report
    """Content of the report."""

    @property
    def folds(self) -> int | None:
        """Number of folds of the cross-validation; None without one."""
        return None if isinstance(self.data, CompositesData) else self.data.splits.folds

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
                "fold": seed % self.folds if self.folds else None,
            },
            where=f"variants.{variant}",
        )

    def cells(self) -> list[Cell]:
        """List all cells of the grid, with the variant varying slowest and the seed fastest."""
        return [
            self.cell(variant, rate, seed)
            for variant in self.grid.variant
            for rate in self.grid.learning_rate
            for seed in self.grid.seed
        ]

    def select_runs(self, targets: Sequence[str]) -> list[str]:
        """List the names of the runs that match any target, in the order of the grid. Without targets, list all runs.

        A target is the name of a run or a pattern with `*`. DVC's stage names, `train@<run>` and `evaluate@<run>`, are
        also accepted.

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
    """Validate content in pydantic's JSON mode, which is strict about types but accepts lists for tuples.

    Args:
        model: Schema of the content.
        content: Content to validate.
        where: Key of the content in the file, for error messages; empty for the whole file.

    Raises:
        PipelineError: The content is invalid. The message has one line per error.
    """
    try:
        return model.model_validate_json(json.dumps(content, default=str))
    except ValidationError as error:
        raise PipelineError("\n".join(describe_errors(error, model, where))) from None
    except (TypeError, ValueError) as error:  # a key is a list or a date, or a section contains itself
        raise PipelineError(f"{where or 'the file'} contains a value that is not allowed: {error}.") from None
