"""Describe a run for MLflow, during training or from its folder: parameters, tags, metrics, files and images."""

from __future__ import annotations

import csv
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pipeline.analysis.measurement import describe_measurement
from pipeline.artifacts.evaluation_folder import EvaluationFolder, RunEvaluation
from pipeline.artifacts.folder import list_files
from pipeline.artifacts.metric_names import get_column
from pipeline.artifacts.prepared_data import PreparedData
from pipeline.artifacts.project import Project
from pipeline.artifacts.run_folder import RunFolder, RunRecord, RunTiming
from pipeline.errors import PipelineError
from pipeline.runtime.training_state import TrainingState
from pipeline.tracking.run_images import RunImages
from pipeline.tracking.tags import MEASUREMENT, SETTING, create_result_tags, name_setting
from pipeline.wording import format_size_setting

if TYPE_CHECKING:
    from pipeline.artifacts.comparison import RunSummary

Status = Literal["RUNNING", "FINISHED", "FAILED", "KILLED"]

# MLflow's pages sort charts by section, the part before the slash, and show metrics without a section last.
VAL_LOSS, TRAIN_LOSS = "loss/val", "loss/train"
_METRIC_NAMES = {
    "val_loss": VAL_LOSS,
    "train_loss": TRAIN_LOSS,
    "objective": "optimizer/objective",
    "learning_rate": "optimizer/lr",  # at the epoch's last step, unlike the parameter learning_rate
}
# Columns of `comparison/runs.csv` that MLflow shows by epoch, too. At the best epoch, their names end in `_best`.
_BY_EPOCH = ("train_loss", "val_loss", "val_mean_iou")


@dataclass(frozen=True)
class EpochMetrics:
    """Metrics of one epoch."""

    number: int  # from 1; MLflow's step
    metrics: Mapping[str, float]
    ended_ms: int | None  # milliseconds since 1970, like all times in this module; None if unknown


@dataclass(frozen=True)
class RunContent:
    """Content of a run in MLflow."""

    name: str
    key: str
    status: Status
    began_ms: int | None = None  # None if unknown
    ended_ms: int | None = None  # None if unknown; MLflow then shows a duration of zero
    parameters: Mapping[str, Any] = field(default_factory=dict)  # may be nested
    tags: Mapping[str, str] = field(default_factory=dict)
    creation_tags: Mapping[str, str] = field(default_factory=dict)  # set only when the run is created in MLflow
    epochs: tuple[EpochMetrics, ...] = ()
    metrics: Mapping[str, float] = field(default_factory=dict)  # one value per run
    data: DataSummary | None = None  # None if the run was trained on data other than the prepared data
    files: Mapping[str, Mapping[str, Path]] = field(default_factory=dict)  # by artifact folder and path within it
    images: RunImages | None = None  # None if they are unknown, as for a run in training
    run: RunFolder | None = None  # None if the content is not of a finished run

    def is_outdated(self) -> bool:
        """Return whether the run folder now has another training than the described one, or none."""
        if self.run is None:
            return False
        try:
            return self.run.read_json(RunFolder.RECORD, RunRecord).key != self.key  # `record` would be the old one
        except PipelineError:
            return True

    def require_current(self) -> None:
        """Check that the run folder still has the described training.

        Raises:
            PipelineError: The run was trained again or removed.
        """
        if self.is_outdated():
            raise PipelineError(
                f"{self.name} was trained again or removed while its files were uploaded to MLflow, so they may be of "
                "another training. Upload the run again when its training has ended."
            )


@dataclass(frozen=True)
class DataSummary:
    """Title, source, fingerprint and sizes of the prepared data, for MLflow."""

    title: str
    source: str
    fingerprint: str
    image_size: str  # formatted like `data.image_size`, px; "native" if the images differ in size
    # Number of images by split: one mapping per fold, or a single one without cross-validation.
    counts: tuple[Mapping[str, int], ...]

    @classmethod
    def read(cls, project: Project) -> DataSummary:
        """Read the summary of a project's prepared data."""
        prepared = project.prepared
        data = prepared.dataset
        views = [prepared.select_fold(fold) for fold in (range(data.folds) if data.folds else (None,))]
        counts = tuple({split: len(view.open_split(split)) for split in view.splits} for view in views)
        size = prepared.open_split("train").images.size
        image_size = "native" if size is None else format_size_setting(size)
        return cls(data.title, data.source, data.fingerprint, image_size, counts)

    def parameters(self, cell: Mapping[str, Any]) -> dict[str, int | str]:
        """Return the sizes as parameters of the run of a cell."""
        parameters: dict[str, int | str] = {"data.image_size": self.image_size}
        counts = self.counts[cell.get("fold") or 0]
        for split, name in (("train", "train"), ("validation", "val"), ("test", "test")):
            if split in counts:
                parameters[f"data.num_{name}_images"] = counts[split]
        if cell["max_train_images"] is not None:
            parameters["data.num_train_images"] = min(cell["max_train_images"], counts["train"])
        return parameters


def describe_training(
    state: TrainingState, data: DataSummary, tags: Mapping[str, str], status: Status = "RUNNING"
) -> RunContent:
    """Describe a run that is in training, or that ended without a run folder; `tags` are its tags in MLflow."""
    epochs = zip(state.history, state.ended_ms, strict=True)
    return RunContent(
        name=state.run,
        key=state.key,
        status=status,
        began_ms=state.began_ms,
        ended_ms=None if status == "RUNNING" else round(time.time() * 1000),
        parameters=collect_parameters(state.cell, state.precision, data),
        tags={**tags, SETTING: name_setting(state.cell, state.data_fingerprint)},
        epochs=tuple(EpochMetrics(int(row["epoch"]), convert_epoch_metrics(row), ended_ms) for row, ended_ms in epochs),
        data=data,
    )


def describe_finished(
    name: str, project: Project, data: DataSummary, creation_tags: Mapping[str, str], row: RunSummary | None = None
) -> RunContent:
    """Describe a finished run from its folder, including its evaluation if that belongs to the same training run.

    Metric values get the time of the training, not of the upload, because MLflow recognizes a repeated value by its
    step and time.

    Args:
        name: the name of the run.
        project: the project that contains the run.
        data: the currently prepared data.
        creation_tags: tags that are set only if the run is created in MLflow.
        row: the run's row in the comparison; None if it was not compared.

    Raises:
        PipelineError: A file is missing or broken.
    """
    run, evaluation = project.run(name), project.evaluation(name)
    record, timing, history = run.record, run.read_timing(), read_history(run)
    if timing is not None and len(history) != len(timing.epochs):
        raise PipelineError(
            f"{run.path}: {run.HISTORY} has {len(history)} epochs, but {run.TIMING} has {len(timing.epochs)}. "
            f"Train the run again: {run.redo_command}"
        )
    trained_on = data if record.data_fingerprint == data.fingerprint else None
    ended_ms = [epoch.ended_ms for epoch in timing.epochs] if timing else [None] * len(history)
    # When DVC restores a run, the `timing.json` of an earlier training remains in the folder.
    files = {"run": list_files(run.path, without=() if timing else (run.TIMING,))}
    tags, metrics = create_result_tags(record, row), dict[str, float]()
    if evaluation.exists() and evaluation.metrics.key == record.key:
        metrics = collect_best_metrics(evaluation.metrics, record, timing)
        measurement = describe_measurement(evaluation.metrics.distances, evaluation.metrics.objects, record.fold)
        tags[MEASUREMENT] = json.dumps(measurement, ensure_ascii=False)
        # The images of the evaluation are the prepared ones. A run that diverged in its first epoch has no scores.
        if trained_on and evaluation.metrics.validation:
            metrics |= _compute_metrics(evaluation, project.prepared.select_fold(record.fold))
        files["evaluation"] = list_files(evaluation.path)
    return RunContent(
        name=record.run,
        key=record.key,
        status="FINISHED",
        began_ms=timing.began_ms if timing else None,
        ended_ms=timing.last_ms if timing else None,
        parameters=collect_parameters(record.cell, record.precision, trained_on),
        tags=tags,
        creation_tags=creation_tags,
        epochs=tuple(
            EpochMetrics(number, of_epoch, ended)
            for number, (of_epoch, ended) in enumerate(zip(history, ended_ms, strict=True), start=1)
        ),
        metrics=metrics,
        data=trained_on,
        files=files,
        images=RunImages.find(run, project.prepared) if trained_on else None,
        run=run,
    )


def collect_parameters(cell: Mapping[str, Any], precision: str, data: DataSummary | None) -> dict[str, Any]:
    """Collect the parameters of a run: its cell, the precision that the machine chose, and the sizes of its data."""
    parameters = {name: value for name, value in cell.items() if name != "fold" or value is not None}
    return {**parameters, "precision": precision, **(data.parameters(cell) if data else {})}


def convert_epoch_metrics(row: Mapping[str, float | str]) -> dict[str, float]:
    """Convert a row of the history to metrics named like MLflow's charts, such as `loss/val` and `train_iou/cat`."""
    metrics = {
        _METRIC_NAMES.get(name, name.replace("_iou_", "_iou/")): float(value)
        for name, value in row.items()
        if name != "epoch" and value != ""  # empty for the IoU of a class in neither ground truth nor prediction
    }
    # MLflow keeps the order of the first upload, and its comparison of runs starts with the first metric.
    return dict(sorted(metrics.items(), key=lambda item: item[0] != VAL_LOSS))


def read_history(run: RunFolder) -> list[dict[str, float]]:
    """Read a run's metrics for every epoch, starting with the first."""
    with run.reading(run.HISTORY) as path, path.open(encoding="utf-8", newline="") as file:
        return [convert_epoch_metrics(row) for row in csv.DictReader(file)]


def collect_best_metrics(evaluation: RunEvaluation, record: RunRecord, timing: RunTiming | None) -> dict[str, float]:
    """Collect the metrics that have one value per run, without undefined ones.

    MLflow's table can be sorted by these. For a per-epoch metric, it shows the last value, not the best epoch's value.
    """
    if evaluation.validation is None or evaluation.train is None:
        return {}
    calibration, objects, validation = evaluation.val_calibration, evaluation.objects, evaluation.validation
    values = {
        name_in_mlflow("val_loss"): validation.loss,
        name_in_mlflow("train_loss"): evaluation.train.loss,
        "gap": evaluation.gap,
        "gap_last": evaluation.gap_last,
        "best_epoch": record.best_epoch,
        name_in_mlflow("val_mean_iou"): validation.mean_iou,
        "val_accuracy": validation.accuracy,
        "val_foreground_iou": validation.foreground_iou,
        "val_object_iou": validation.object_iou,
        "train_object_f1": objects.train.f1 if objects else None,
        "val_missed_classes": len(validation.find_missed_classes()),
        "val_calibration_error": calibration.error if calibration else None,
        "showcase_iou": evaluation.showcase[0].foreground_iou if evaluation.showcase else None,
        "showcase_mean_iou": evaluation.showcase[0].mean_iou if evaluation.showcase else None,
        "training_seconds": timing.seconds if timing else None,
    }
    return {name: float(value) for name, value in values.items() if value is not None}


def name_in_mlflow(column: str) -> str:
    """Return the name in MLflow of a column of `comparison/runs.csv`."""
    return f"{column}_best" if column in _BY_EPOCH else column


def _compute_metrics(evaluation: EvaluationFolder, prepared: PreparedData) -> dict[str, float]:
    """Compute the metrics on validation that are not in the evaluation's scores, without undefined ones."""
    from pipeline.analysis.evaluation_metrics import compute_run_metrics

    found = compute_run_metrics(evaluation, prepared.samples, "validation", prepared.dataset.classes)
    return {get_column(name): value for name, value in found.values.items() if value is not None}
