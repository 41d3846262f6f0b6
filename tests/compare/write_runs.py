"""Run folders and evaluations written by hand, for tests of the comparison."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.artifacts.evaluation_folder import RunEvaluation
from pipeline.artifacts.format import FORMAT
from pipeline.artifacts.project import Project
from pipeline.artifacts.run_folder import ImageLosses, RunFolder, RunRecord
from pipeline.artifacts.scores import Calibration, Scores
from pipeline.artifacts.status import TrainedStatus
from pipeline.params import Cell


def make_scores(loss: float) -> Scores:
    return Scores(
        loss,
        accuracy=0.9,
        mean_iou=1 - loss / 2,
        foreground_iou=0.8,
        object_iou=None,
        iou={"animal": 0.8, "background": 0.9, "border": None},
        predicted={"animal": 0.3, "background": 0.7, "border": 0.0},
    )


def compute_test_loss(loss: float) -> float:
    """Return a test loss that appears in no other column."""
    return round(loss + 0.01234, 6)


def write_image_losses(folder: RunFolder, loss: float) -> None:
    means = {"train": (loss + 0.1, loss - 0.1), "validation": (loss + 0.2, loss)}
    sides = (
        ImageLosses(
            np.outer(mean, np.linspace(0.9, 1.1, 6)).astype(np.float32), np.full(6, 1024), np.zeros(6, np.int64)
        )
        for mean in means.values()
    )
    folder.write_image_losses(*sides)


def list_image_scores(samples: pd.DataFrame, loss: float) -> list[list[str | float]]:
    """List scores per image, equal within a split; the loss of border is twice as high in validation as in training."""
    rows: list[list[str | float]] = []
    for sample, split in zip(samples["id"], samples["split"], strict=True):
        own, border = (loss - 0.1, 0.5) if split == "train" else (loss, 1.0)
        rows.append([sample, split, own, 0.9, 0.5, 0.5, 0.5, 0.5, 0.5, own, own, border])
    return rows


def write_run(root: Path, cell: Cell, loss: float, status: TrainedStatus = "finished") -> None:
    project = Project(root)
    with project.run(cell.name).replace() as run:
        run.write_json(run.RECORD,
            RunRecord(
                format=FORMAT, run=cell.name, key="0" * 64, status=status, epochs=2, best_epoch=2,
                diverged_epoch=3 if status == "diverged" else None, precision="float32", trainable_parameters=7,
                data_fingerprint="f", cell=cell.model_dump(mode="json"),
            )
        )  # fmt: skip
        epochs = ((1, 0.01, 1.0, loss + 0.1, loss + 0.2, 0.5), (2, 0.001, 1.0, loss - 0.1, loss, 0.6))
        run.write_history([dict(zip(run.HISTORY_COLUMNS, epoch, strict=True)) for epoch in epochs], ())
        write_image_losses(run, loss)
    with project.evaluation(cell.name).replace() as evaluation:
        evaluation.write_json(evaluation.METRICS,
            RunEvaluation(
                cell.name, "0" * 64, 0.1, 0.1, make_scores(loss - 0.1), make_scores(loss),
                make_scores(compute_test_loss(loss)), (make_scores(loss),), Calibration(0.95, 0.02),
                Calibration(0.95, 0.05),
            )
        )  # fmt: skip
        classes = [item.name for item in project.prepared.dataset.classes]
        evaluation.write_per_image(classes, list_image_scores(project.prepared.samples, loss))
        matrix = np.array([[60, 30, 10], [0, 800, 0], [0, 0, 0]])
        splits = ("train", "validation", "test")
        evaluation.write_confusion(dict.fromkeys(splits, matrix), classes)
        counts = project.prepared.samples["split"].value_counts()
        evaluation.write_class_pixels({split: np.stack([matrix] * counts[split]) for split in splits})
        evaluation.write_table(evaluation.SURFACES, evaluation.SURFACE_COLUMNS, ())
        bins = [(split, 0.9, 1.0, 700, 0.95, 0.9) for split in ("train", "validation")]
        bins += [("validation", 0.5, 0.6, 0, "", "")]
        evaluation.write_table(evaluation.CALIBRATION, evaluation.CALIBRATION_COLUMNS, bins)
