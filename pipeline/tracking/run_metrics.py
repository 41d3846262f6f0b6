"""What MLflow is told of a run: the same while it trains and from its folders afterwards."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline import runs
from pipeline.data.prepared import open_split
from pipeline.errors import PipelineError
from pipeline.runs import Evaluation, RunRecord
from pipeline.timing import read_timing

# MLflow's pages sort charts by their section, what precedes the slash, and show metrics without one last.
VAL_LOSS = "loss/val"
_NAMES = {
    "val_loss": VAL_LOSS,
    "train_loss": "loss/train",
    "objective": "optimizer/objective",
    "learning_rate": "optimizer/lr",  # of the epoch's last step; the parameter learning_rate is the cell's
}


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


@dataclass(frozen=True)
class DataSize:
    """How many images the prepared data has, and how large they are; not part of a cell, but worth a column."""

    image_size: int  # pixels, of either side
    counts: Mapping[str, int]  # by split

    @classmethod
    def read(cls, folder: Path = runs.PREPARED) -> DataSize:
        """Read it from the prepared arrays; raises `PipelineError` if they cannot be read."""
        splits = {split: open_split(split, folder) for split in runs.SPLITS if (folder / split).is_dir()}
        return cls(splits["train"].images.shape[1], {split: len(found) for split, found in splits.items()})

    def parameters(self, train_images: int | None) -> dict[str, int]:
        """Return the parameters of a run that is trained on `train_images` images, None for all."""
        named = {"data.image_size": self.image_size}
        for split, name in (("train", "train"), ("validation", "val"), ("test", "test")):
            if split in self.counts:
                named[f"data.num_{name}_images"] = self.counts[split]
        if train_images is not None:
            named["data.num_train_images"] = min(train_images, self.counts["train"])
        return named


def parameters(cell: Mapping[str, Any], precision: str, data: DataSize | None) -> dict[str, Any]:
    """Collect a run's parameters: its cell as JSON, the arithmetic that the machine chose, and the size of its data.

    `data` is None if the prepared data is not what the run was trained on.
    """
    size = data.parameters(cell["train_images"]) if data else {}
    return {**cell, "precision": precision, **size}


def epoch_metrics(row: Mapping[str, float | str]) -> dict[str, float]:
    """Return a row of the history as metrics, named for the charts: `loss/val`, `train_iou/cat`."""
    metrics = {
        _NAMES.get(name, name.replace("_iou_", "_iou/")): float(value)
        for name, value in row.items()
        if name != "epoch" and value != ""  # a class that neither truth nor prediction has
    }
    # MLflow keeps the order in which metrics came first, and its view that compares runs begins with the first one.
    return dict(sorted(metrics.items(), key=lambda item: item[0] != VAL_LOSS))


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
