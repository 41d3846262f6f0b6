"""`comparison/`: scores and verdicts of the grid's runs, and settings ranked by their mean over seeds."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pipeline.artifacts.folder import ArtifactFolder, Record
from pipeline.artifacts.learning_curve import LearningCurve
from pipeline.artifacts.metric_names import FOREGROUND_METRICS, OBJECT_METRICS, RankBy, get_column
from pipeline.artifacts.scores import DistanceScale, MissedClass, Scores
from pipeline.artifacts.status import RunStatus
from pipeline.wording import count_loss_decimals, pluralize

if TYPE_CHECKING:
    import pandas as pd

Spread = tuple[float | None, float | None]  # mean and sample standard deviation over seeds


class Setting(NamedTuple):
    """A variant at a learning rate, whose runs differ only in the seed."""

    variant: str
    learning_rate: float

    def __str__(self) -> str:
        return f"{self.variant} at {self.learning_rate}"


@dataclass(frozen=True)
class Judgment(Record):
    """Verdict on a run, and the numbers behind it; undefined numbers are None."""

    verdict: str  # learning, memorizing, overfitting, underfitting, diverged or undecided
    evidence: tuple[str, ...]  # phrases with the numbers that the verdict is based on
    not_checked: tuple[str, ...]  # reasons why some numbers are undefined
    ratio: float | None = None  # validation loss divided by training loss, at the last epoch
    rise: float | None = None  # relative increase of the validation loss from its minimum to the last epoch
    iou_gap: float | None = None  # mean IoU on training minus validation images, at the best epoch
    iou_gap_last: float | None = None  # the same at the last epoch
    iou_fall: float | None = None  # decrease of the mean IoU on validation from its maximum to the last epoch
    onset: tuple[int, int] | None = None  # 90% interval of the epoch from which the validation loss rises
    gap_low: float | None = None  # lower end of the 95% interval of the gap on new images, at the best epoch
    gap_high: float | None = None  # upper end of this interval
    selection_bias: float | None = None  # bias of val_loss due to choosing the epoch on validation, nats per pixel
    beats_baseline: bool | None = (
        None  # whether its validation IoU exceeds that of predicting one class; None if unknown
    )


@dataclass(frozen=True)
class RunSummary(Record):
    """Summary of a run in the grid; numbers are None if the run does not have them."""

    run: str
    variant: str
    learning_rate: float
    seed: int
    status: RunStatus
    reason: str  # a sentence if the run is not complete, otherwise empty
    epochs: int
    best_epoch: int | None
    train_loss: float | None  # at the best epoch, like all following numbers
    val_loss: float | None
    gap: float | None
    gap_last: float | None  # at the last epoch
    val_accuracy: float | None
    val_mean_iou: float | None
    val_foreground_iou: float | None
    val_object_iou: float | None
    missed_classes: tuple[MissedClass, ...]  # on validation
    train_calibration_error: float | None  # expected calibration error, 0 to 1
    val_calibration_error: float | None
    val_confidence: float | None  # mean probability of the predicted class, to be compared with val_accuracy
    showcase_iou: float | None  # foreground IoU of the first showcase image
    showcase_mean_iou: float | None
    trainable_parameters: int | None
    judgment: Judgment | None
    # on validation, by name in `FOREGROUND_METRICS` and `OBJECT_METRICS`; undefined ones are None
    val_metrics: dict[str, float | None] = field(default_factory=dict)
    multiply_accumulates: int | None = None  # of a prediction, for one image or one tile
    model_bytes: int | None = None  # size of the weights' file
    training_bytes: int | None = None  # memory of a training step
    fold: int | None = None  # fold that the run is validated on; None without cross-validation
    # pairs of a validation image and a foreground class that `hd95` and `asd` leave out, because only one of the masks
    # has the class
    num_undefined_distances: int | None = None

    @property
    def setting(self) -> Setting:
        """The setting of the run."""
        return Setting(self.variant, self.learning_rate)

    def get_metric(self, name: str) -> float | None:
        """Return a metric on validation, by its name in `RankBy`."""
        column = get_column(name)
        value: float | None = vars(self).get(column, self.val_metrics.get(name))
        return value

    @property
    def trained(self) -> bool:
        """Whether the training is complete or diverged, so that the run has loss curves."""
        return self.is_complete or self.status == "diverged"

    @property
    def is_complete(self) -> bool:
        """Whether the training ended with finite losses, after all epochs or by early stopping."""
        return self.status in ("finished", "stopped_early")


@dataclass(frozen=True)
class SettingSummary(Record):
    """Summary of a setting (a variant at a learning rate) over its seeds; sd is the sample standard deviation."""

    variant: str
    learning_rate: float
    seeds: int  # number of seeds in the grid
    finished: int  # number of finished seeds; means and deviations are over them, and None if one of their values is
    ranked: bool  # whether every seed finished and has the metric that settings are ranked by
    run: str | None  # run with the median of this metric, the better one if there are two; None if not ranked
    val_loss_mean: float | None
    val_loss_sd: float | None
    gap_mean: float | None
    gap_sd: float | None
    val_mean_iou_mean: float | None
    val_mean_iou_sd: float | None
    missed_classes: float | None  # mean number of classes that its runs miss on validation
    beats_baseline: float | None = None  # share of runs that beat the baseline, among those that could be checked
    # Over all images that were validated in one fold and trained on in another; None without cross-validation, or if
    # the gap cannot be computed
    folded_gap: float | None = None  # corrected for the choice of the best epochs
    folded_gap_low: float | None = None  # ends of the 95% interval
    folded_gap_high: float | None = None
    validated_images: int | None = None  # number of these images
    spreads: dict[str, Spread] = field(default_factory=dict)  # of the other metrics on validation, by name in `RankBy`

    @property
    def setting(self) -> Setting:
        """The setting itself."""
        return Setting(self.variant, self.learning_rate)

    def get_spread(self, name: str) -> Spread:
        """Return the mean and the standard deviation of a metric on validation, by its name in `RankBy`."""
        known = {
            "val_loss": (self.val_loss_mean, self.val_loss_sd),
            "mean_iou": (self.val_mean_iou_mean, self.val_mean_iou_sd),
        }
        return known.get(name) or self.spreads.get(name, (None, None))

    @property
    def is_no_better(self) -> bool:
        """Whether at least half of the seeds are no better than predicting one class everywhere."""
        return self.beats_baseline is not None and self.beats_baseline <= 0.5


@dataclass(frozen=True)
class BestSetting(Record):
    """A variant at its best learning rate, represented by the run with the median of the ranked metric."""

    variant: str
    learning_rate: float
    run: str
    test: Scores | None  # test scores of the run; None except for the best setting of the grid
    test_by_seed: tuple[Scores, ...] = ()  # test scores of all seeds of the setting; empty if `test` is None
    # of the same seeds, by name in `FOREGROUND_METRICS` and `OBJECT_METRICS`
    test_metrics_by_seed: tuple[dict[str, float | None], ...] = ()

    @property
    def setting(self) -> Setting:
        """The setting itself."""
        return Setting(self.variant, self.learning_rate)

    def list_test_values(self, name: str) -> list[float | None]:
        """List the values of a metric on the test images, one per seed, by its name in `RankBy`."""
        score = "loss" if name == "val_loss" else name
        if score in {item.name for item in fields(Scores)}:
            return [getattr(scores, score) for scores in self.test_by_seed]
        return [metrics.get(name) for metrics in self.test_metrics_by_seed]


@dataclass(frozen=True)
class Summary(Record):
    """`summary.json`: the results of the grid."""

    baseline: Scores  # scores of the class-prior baseline on validation
    runs: tuple[RunSummary, ...]
    settings: tuple[SettingSummary, ...]
    best_of_variant: tuple[BestSetting, ...]
    best: BestSetting | None  # None if no setting is ranked
    foreground: tuple[str, ...]  # names of the foreground classes
    boundary: tuple[str, ...]  # names of the boundary classes
    rank_by: RankBy = "val_loss"  # metric on validation that settings are ranked by
    folds: int | None = None  # number of folds of the cross-validation; None without one
    distances: DistanceScale | None = None  # of the runs' distances between outlines; None if no run has any
    learning_curves: tuple[LearningCurve, ...] = ()  # of a grid, the one with the lowest loss first

    @property
    def baseline_loss(self) -> float:
        """The loss of the class-prior baseline; never None, because `compare` rejects data without evaluated pixels."""
        assert self.baseline.loss is not None
        return self.baseline.loss

    @property
    def loss_digits(self) -> int:
        """The decimals of losses and gaps. With rare foreground, all losses are low."""
        return count_loss_decimals(self.baseline_loss)

    def describe_seeds(self, setting: SettingSummary | BestSetting) -> str:
        """Describe how often a setting was trained: `3 seeds`, or with cross-validation `10 runs in 5 folds`."""
        runs = self.list_runs(setting)
        if self.folds is None:
            return pluralize(len(runs), "seed")
        folds = len({row.fold for row in runs})
        return pluralize(folds, "fold") if folds == len(runs) else f"{len(runs)} runs in {pluralize(folds, 'fold')}"

    def get_run(self, name: str) -> RunSummary:
        """Return a run by name."""
        return next(row for row in self.runs if row.run == name)

    def get_setting(self, best: BestSetting) -> SettingSummary:
        """Return the summary of a setting over its seeds."""
        return next(row for row in self.settings if row.setting == best.setting)

    def list_runs(self, setting: SettingSummary | BestSetting | RunSummary) -> list[RunSummary]:
        """Return the runs of a setting, one per seed."""
        return list(self._runs_by_setting.get(setting.setting, ()))

    @cached_property
    def _runs_by_setting(self) -> dict[Setting, list[RunSummary]]:
        """Runs by setting; searching all runs for each setting would take minutes for 10,000 runs."""
        found: dict[Setting, list[RunSummary]] = {}
        for row in self.runs:
            found.setdefault(row.setting, []).append(row)
        return found

    def count_verdicts(self, setting: SettingSummary) -> Counter[str]:
        """Count the verdicts of a setting's runs; a run without a verdict counts by its status."""
        return Counter(row.judgment.verdict if row.judgment else row.status for row in self.list_runs(setting))

    def describe_folds(self, setting: BestSetting | RunSummary) -> str:
        """Describe the folds in which a setting has complete runs: `all folds`, or `2 of 5 folds`."""
        folds = len({row.fold for row in self.list_runs(setting) if row.is_complete})
        return "all folds" if folds == self.folds else f"{folds} of {self.folds} folds"

    def list_fold_runs(self, chosen: BestSetting | RunSummary) -> list[str]:
        """Return one run per fold of a run's setting, that with the lowest seed, so that every image is validated once.

        Without cross-validation, return only the run itself.
        """
        first: dict[int, str] = {}
        for row in sorted(self.list_runs(chosen), key=lambda row: row.seed):
            if row.is_complete and row.fold is not None:
                first.setdefault(row.fold, row.run)
        return list(first.values()) or [chosen.run]

    def list_ensemble(self) -> list[RunSummary]:
        """Return the runs of the ensemble: all runs of the best setting. There may be fewer than two."""
        return self.list_runs(self.best) if self.best else []

    def explain_missing_ensemble(self) -> str:
        """Return a sentence on the missing runs if they are too few for an ensemble; otherwise, it is empty."""
        if self.best is None:
            return "The ensemble consists of the runs of the best setting, but no setting has finished all its seeds."
        if len(self.list_ensemble()) < 2:
            only = f"{self.best.setting}, has only one (`grid.seed`)"
            return f"An ensemble needs at least two runs, but the best setting, {only}."
        return ""


@dataclass(frozen=True)
class Finding(Record):
    """A sentence of the report that states a result, and the runs that it is based on."""

    id: str
    sentence: str
    runs: tuple[str, ...]


@dataclass(frozen=True)
class MetricRow:
    """A metric of a run on a split, for one class or over all classes; undefined numbers are None."""

    metric: str  # as in docs/reference/metrics.md
    class_name: str  # empty for a metric over all classes
    value: float | None  # pooled over all pixels, or the mean over images
    low: float | None  # ends of the 95% interval
    high: float | None
    images: int  # number of images that the value is computed from
    undefined: int  # number of images in which the class occurs, but the metric is undefined
    median: float | None = None  # of metrics by image, like the following
    worst_decile: float | None = None  # quantile that the worst tenth of the images does not reach

    @classmethod
    def create(
        cls,
        metric: str,
        class_name: str,
        value: float,
        interval: tuple[float, float] | None,
        images: int,
        undefined: int,
        median: float = math.nan,
        worst_decile: float = math.nan,
    ) -> MetricRow:
        """Create a row from numbers that are NaN if they are undefined."""
        defined = [None if math.isnan(number) else float(number) for number in (value, median, worst_decile)]
        low, high = interval or (None, None)
        return cls(metric, class_name, defined[0], low, high, images, undefined, *defined[1:])


@dataclass(frozen=True)
class _Findings(Record):
    findings: tuple[Finding, ...]


RUN_TEXT_COLUMNS = ("run", "variant", "status", "verdict")
RUN_NUMBER_COLUMNS = (
    "learning_rate",
    "seed",
    "fold",
    "epochs",
    "best_epoch",
    "train_loss",
    "val_loss",
    "gap",
    "gap_low",
    "gap_high",
    "gap_last",
    "val_accuracy",
    "val_mean_iou",
    "val_foreground_iou",
    "val_object_iou",
    *map(get_column, (*FOREGROUND_METRICS, *OBJECT_METRICS)),
    "val_calibration_error",
    "showcase_iou",
    "showcase_mean_iou",
    "trainable_parameters",
    "multiply_accumulates",
    "model_bytes",
    "training_bytes",
)
RUN_COLUMNS = (*RUN_TEXT_COLUMNS, *RUN_NUMBER_COLUMNS)  # attributes of RunSummary, its Judgment and its val_metrics


def list_run_values(row: RunSummary) -> dict[str, str | float | None]:
    """Return the values of a run by column, in the order of `RUN_COLUMNS`."""
    metrics = {get_column(name): value for name, value in row.val_metrics.items()}
    values = (vars(row.judgment) if row.judgment else {}) | vars(row) | metrics
    return {name: values.get(name) for name in RUN_COLUMNS}


def list_setting_values(row: SettingSummary) -> dict[str, str | float | None]:
    """Return the values of a setting by column, with the mean and the standard deviation of every metric."""
    values = {name: value for name, value in vars(row).items() if name != "spreads"}
    for name, (mean, sd) in row.spreads.items():
        values |= {f"{get_column(name)}_mean": mean, f"{get_column(name)}_sd": sd}
    return values


def tabulate_runs(runs: Iterable[RunSummary]) -> pd.DataFrame:
    """Return a table with one row per run and the columns `RUN_COLUMNS`; missing numbers are NaN."""
    import pandas as pd

    types = {**dict.fromkeys(RUN_TEXT_COLUMNS, object), **dict.fromkeys(RUN_NUMBER_COLUMNS, float)}
    return pd.DataFrame(map(list_run_values, runs), columns=list(RUN_COLUMNS)).astype(types)


class Comparison(ArtifactFolder):
    """The `comparison/` folder."""

    command = "pipeline compare"
    SUMMARY = MAIN = "summary.json"
    FINDINGS = "findings.json"
    RUNS = "runs.csv"  # one row per run, columns RUN_COLUMNS
    # One row per setting: SETTING_COLUMNS, and mean and standard deviation of the metric that settings are ranked by,
    # unless they are among these columns
    SETTINGS = "settings.csv"
    SETTING_COLUMNS = tuple(item.name for item in fields(SettingSummary) if item.name != "spreads")
    # Metrics of the best run of each variant on validation, and of the best run on test
    METRICS = "metrics.csv"
    METRIC_COLUMNS = ("run", "split", *(item.name for item in fields(MetricRow)))
    CONFUSION = "confusion.csv"  # of the best run on validation: pixels by ground truth and prediction
    CONFUSION_COLUMNS = ("run", "actual", "predicted", "pixels", "share")  # share of the actual class's pixels
    CALIBRATION = "calibration.csv"  # of the best run, one row per split and confidence bin that has pixels
    CALIBRATION_COLUMNS = ("run", "split", "pixels", "confidence", "accuracy")
    CURVES = "curves.csv"  # long format: one row per run, epoch and split
    CURVE_COLUMNS = ("run", "variant", "learning_rate", "seed", "epoch", "split", "loss")
    GAP_PARTS = "gap_breakdown.csv"  # gap of each run by class, and by the groups and images with the widest gaps
    GAP_PART_COLUMNS = ("run", "part", "name", "images", "train_loss", "val_loss", "gap", "train_iou", "val_iou")

    # Masks of training and validation images, most suspicious first, by the seeds of the best setting: mean, lowest and
    # highest score (see `analysis.label_errors`), mean loss. No rows if the masks are exact or no setting is ranked.
    SUSPICIOUS_MASKS = "suspicious_masks.csv"
    SUSPICIOUS_MASK_COLUMNS = ("id", "split", "score", "lowest", "highest", "loss")

    @cached_property
    def summary(self) -> Summary:
        """The results of the grid."""
        return self.read_json(self.SUMMARY, Summary)

    @cached_property
    def findings(self) -> tuple[Finding, ...]:
        """Sentences with the main results."""
        return self.read_json(self.FINDINGS, _Findings).findings

    @cached_property
    def curves(self) -> pd.DataFrame:
        """Losses by run, split and epoch, without NaN and infinite values."""
        table = self.read_table(self.CURVES, self.CURVE_COLUMNS, {"run": str, "variant": str, "split": str})
        with self.reading(self.CURVES):
            return table[np.isfinite(table["loss"].astype(float))]

    @cached_property
    def metrics(self) -> pd.DataFrame:
        """Metrics by run, split, metric and class; undefined numbers are NaN."""
        types = {"run": str, "split": str, "metric": str, "class_name": str}
        return self.read_table(self.METRICS, self.METRIC_COLUMNS, types)

    @cached_property
    def gap_parts(self) -> pd.DataFrame:
        """The gap of each run by class, group and image."""
        return self.read_table(self.GAP_PARTS, self.GAP_PART_COLUMNS, {"run": str, "part": str, "name": str})

    @cached_property
    def suspicious_masks(self) -> pd.DataFrame:
        """The masks of training and validation images, most suspicious first."""
        types = {"id": str, "split": str}
        return self.read_table(self.SUSPICIOUS_MASKS, self.SUSPICIOUS_MASK_COLUMNS, types)

    def write_summary(self, summary: Summary) -> None:
        """Write `summary.json`, `runs.csv` and `settings.csv`."""
        self.write_json(self.SUMMARY, summary)
        self.write_table(self.RUNS, RUN_COLUMNS, (list_run_values(row).values() for row in summary.runs))
        ranked = [f"{get_column(summary.rank_by)}_{kind}" for kind in ("mean", "sd")]
        columns = tuple(dict.fromkeys((*self.SETTING_COLUMNS, *ranked)))
        settings = map(list_setting_values, summary.settings)
        self.write_table(self.SETTINGS, columns, ([values.get(name) for name in columns] for values in settings))

    def write_metrics(self, rows: Iterable[tuple[str, str, MetricRow]]) -> None:
        """Write `metrics.csv` from names of runs, splits and rows."""
        values = ((run, split, *vars(row).values()) for run, split, row in rows)
        self.write_table(self.METRICS, self.METRIC_COLUMNS, values)

    def write_findings(self, findings: Iterable[Finding]) -> None:
        """Write `findings.json`."""
        self.write_json(self.FINDINGS, _Findings(findings=tuple(findings)))
