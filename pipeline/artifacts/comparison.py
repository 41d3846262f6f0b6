"""`comparison/`: the runs of the grid side by side, judged, and ranked over seeds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from pipeline.artifacts.folder import ArtifactFolder, Record
from pipeline.artifacts.scores import MissedClass, Scores
from pipeline.artifacts.status import RunStatus

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Judgment(Record):
    """Whether a run learned or memorized; numbers are None if they are undefined, and `not_checked` says why."""

    verdict: str  # learning, memorizing, overfitting, underfitting, diverged or undecided
    evidence: tuple[str, ...]  # phrases with the numbers that the verdict is based on
    not_checked: tuple[str, ...]
    ratio: float | None = None  # validation by training loss, at the last epoch
    rise: float | None = None  # of validation over its best, at the last epoch, as a share
    iou_gap: float | None = None  # mean IoU on training minus validation, at the best epoch
    iou_gap_last: float | None = None  # at the last epoch
    iou_fall: float | None = None  # how far below its highest the mean IoU on validation ends
    onset: tuple[int, int] | None = None  # epochs between which validation begins to worsen, at 90 %
    gap_low: float | None = None  # 95 % interval of the gap at the best epoch, as a statement about other images
    gap_high: float | None = None
    selection_bias: float | None = None  # of val_loss from choosing the epoch on validation, nats per pixel
    beats_baseline: bool | None = None  # IoU on validation above that of predicting one class everywhere; None: unknown


@dataclass(frozen=True)
class RunSummary(Record):
    """A run of the grid; numbers are None if the run has none."""

    run: str
    variant: str
    learning_rate: float
    seed: int
    status: RunStatus
    reason: str  # a sentence if the run is not complete, otherwise empty
    epochs: int
    best_epoch: int | None
    train_loss: float | None  # at the best epoch, as everything below
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

    @property
    def trained(self) -> bool:
        """Whether its training is complete or diverged, so it has curves."""
        return self.is_complete or self.status == "diverged"

    @property
    def is_complete(self) -> bool:
        """Whether its training ended with finite losses, after all epochs or early."""
        return self.status in ("finished", "stopped_early")


@dataclass(frozen=True)
class SettingSummary(Record):
    """A variant at a learning rate, over its seeds; sd is the sample standard deviation."""

    variant: str
    learning_rate: float
    seeds: int  # in the grid
    finished: int  # of them; means and deviations are over these
    ranked: bool  # whether every seed finished; a setting with a diverged or missing seed is not ranked
    run: str | None  # the seed with the median val_loss (of an even number the lower one); None if not ranked
    val_loss_mean: float | None
    val_loss_sd: float | None
    gap_mean: float | None
    gap_sd: float | None
    val_mean_iou_mean: float | None
    val_mean_iou_sd: float | None
    missed_classes: float | None  # number of classes that a run misses on validation, mean over the seeds
    beats_baseline: float | None = None  # share of the runs that do, of those that could be checked

    @property
    def is_no_better(self) -> bool:
        """Whether at least half of the seeds do no better than predicting one class everywhere."""
        return self.beats_baseline is not None and self.beats_baseline <= 0.5


@dataclass(frozen=True)
class BestSetting(Record):
    """A variant at its best learning rate by validation, represented by its median-seed run."""

    variant: str
    learning_rate: float
    run: str
    test: Scores | None  # of that run; only ever of the best setting of the grid
    test_by_seed: tuple[Scores, ...] = ()  # of all seeds of that setting, if `test` is known


@dataclass(frozen=True)
class Summary(Record):
    """`summary.json`: the grid's results."""

    baseline: Scores  # the class-prior baseline on validation
    runs: tuple[RunSummary, ...]
    settings: tuple[SettingSummary, ...]
    best_of_variant: tuple[BestSetting, ...]
    best: BestSetting | None  # None if no setting is ranked
    foreground: tuple[str, ...]  # names of the foreground classes
    boundary: tuple[str, ...]  # names of the boundary classes

    @property
    def baseline_loss(self) -> float:
        """The class-prior loss; defined, because `compare` refuses data without evaluated pixels."""
        assert self.baseline.loss is not None
        return self.baseline.loss

    def get_run(self, name: str) -> RunSummary:
        """Return a run by its name."""
        return next(row for row in self.runs if row.run == name)

    def get_setting(self, best: BestSetting) -> SettingSummary:
        """Return the summary of a setting over its seeds."""
        return next(
            row for row in self.settings if (row.variant, row.learning_rate) == (best.variant, best.learning_rate)
        )

    def list_runs(self, setting: SettingSummary | BestSetting) -> list[RunSummary]:
        """Return the runs of a setting, one per seed."""
        return [
            row for row in self.runs if (row.variant, row.learning_rate) == (setting.variant, setting.learning_rate)
        ]


@dataclass(frozen=True)
class Finding(Record):
    """A sentence of the report, with the numbers in it, and the runs that it is based on."""

    id: str
    sentence: str
    runs: tuple[str, ...]


@dataclass(frozen=True)
class _Findings(Record):
    findings: tuple[Finding, ...]


class Comparison(ArtifactFolder):
    """The folder of the comparison."""

    command = "pipeline compare"
    SUMMARY = MAIN = "summary.json"
    FINDINGS = "findings.json"
    CURVES = "curves.csv"  # long form
    CURVE_COLUMNS = ("run", "variant", "learning_rate", "seed", "epoch", "split", "loss")
    GAP_PARTS = "gap_breakdown.csv"  # each run's gap by class, and by the validation groups and images with the widest
    GAP_PART_COLUMNS = ("run", "part", "name", "images", "train_loss", "val_loss", "gap", "train_iou", "val_iou")

    @cached_property
    def summary(self) -> Summary:
        """The results of the grid."""
        return self.read_json(self.SUMMARY, Summary)

    @cached_property
    def findings(self) -> tuple[Finding, ...]:
        """The sentences computed from the numbers."""
        return self.read_json(self.FINDINGS, _Findings).findings

    @cached_property
    def curves(self) -> pd.DataFrame:
        """Loss by run, split and epoch; only finite ones."""
        table = self.read_table(self.CURVES, self.CURVE_COLUMNS, {"run": str, "variant": str, "split": str})
        with self.reading(self.CURVES):
            return table[np.isfinite(table["loss"].astype(float))]

    @cached_property
    def gap_parts(self) -> pd.DataFrame:
        """Parts of each run's gap."""
        return self.read_table(self.GAP_PARTS, self.GAP_PART_COLUMNS, {"run": str, "part": str, "name": str})

    def write_findings(self, findings: Iterable[Finding]) -> None:
        """Write `findings.json`."""
        self.write_json(self.FINDINGS, _Findings(findings=tuple(findings)))
