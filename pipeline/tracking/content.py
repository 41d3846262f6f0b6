"""What MLflow is told of a run: the same while it trains and from its folders afterwards."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline import runs
from pipeline.errors import PipelineError
from pipeline.runs import Evaluation, RunRecord
from pipeline.timing import read_timing

YARDSTICK = "val_loss"


@dataclass(frozen=True)
class Times:
    """When a run's epochs ended, in milliseconds since 1970, and the seconds that it took in all.

    Every point carries these times and never the clock's at sending: MLflow takes a point for the same only if its
    time is the same too.
    """

    ended_ms: tuple[int, ...]
    seconds: float

    @classmethod
    def read(cls, folder: Path) -> Times | None:
        """Read a run's times; None if they are unknown."""
        timing = read_timing(folder)
        if timing is None:
            return None
        return cls(tuple(int(epoch["ended_ms"]) for epoch in timing["epochs"]), float(timing["seconds"]))

    @property
    def last_ms(self) -> int | None:
        """When the last epoch ended; None where none did."""
        return self.ended_ms[-1] if self.ended_ms else None

    @property
    def began_ms(self) -> int | None:
        """When a training without a pause would have begun; None where no epoch ended."""
        return self.ended_ms[-1] - round(self.seconds * 1000) if self.ended_ms else None


def parameters(cell: Mapping[str, Any], precision: str) -> dict[str, Any]:
    """A run's parameters: its cell as JSON, and the arithmetic that the machine chose."""
    return {**cell, "precision": precision}


def epoch_metrics(row: Mapping[str, float | str]) -> dict[str, float]:
    """A row of the history as metrics: `train_iou_cat` becomes `train_iou/cat`, so that charts stand in sections."""
    metrics = {
        name.replace("_iou_", "_iou/"): float(value)
        for name, value in row.items()
        if name != "epoch" and value != ""  # a class that neither truth nor prediction has
    }
    # MLflow keeps the order in which metrics came first, and its view that compares runs begins with the first one.
    return dict(sorted(metrics.items(), key=lambda item: item[0] != YARDSTICK))


def read_history(folder: Path) -> list[dict[str, float]]:
    """The metrics of a run's epochs, from the first on; raises `PipelineError` where they cannot be read."""
    path = folder / runs.HISTORY
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return [epoch_metrics(row) for row in csv.DictReader(file)]
    except (OSError, ValueError, TypeError, csv.Error) as error:
        raise PipelineError(
            f"{path} cannot be read ({error}). Train it again: dvc repro --force train@{folder.name}"
        ) from None


def best_metrics(evaluation: Evaluation, record: RunRecord, times: Times | None) -> dict[str, float]:
    """Collect the numbers that a run has one of, to sort a table of runs by; none of a run without a model.

    Undefined scores are left out.

    MLflow's table shows the last value of a metric, which is not the best epoch's.
    """
    if evaluation.validation is None or evaluation.train is None:
        return {}
    calibration = evaluation.val_calibration
    values = {
        "val_loss_best": evaluation.validation.loss,
        "train_loss_best": evaluation.train.loss,
        "gap": evaluation.gap,
        "gap_last": evaluation.gap_last,
        "best_epoch": record.best_epoch,
        "val_mean_iou_best": evaluation.validation.mean_iou,
        "val_foreground_iou_best": evaluation.validation.foreground_iou,
        "val_object_iou_best": evaluation.validation.object_iou,
        "val_missed_classes": len(evaluation.validation.find_missed_classes()),
        "val_calibration_error": calibration.error if calibration else None,
        "showcase_iou": evaluation.showcase[0].foreground_iou if evaluation.showcase else None,
        "showcase_mean_iou": evaluation.showcase[0].mean_iou if evaluation.showcase else None,
        "training_seconds": times.seconds if times else None,
    }
    return {name: float(value) for name, value in values.items() if value is not None}
