"""Where each run's gap comes from: the comparison's table of classes, groups and images."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from pipeline import runs
from pipeline.analysis.parts import Part, by_class, by_group, by_image
from pipeline.compare.reading import RunFiles
from pipeline.errors import PipelineError


def run_parts(files: RunFiles, samples: pd.DataFrame) -> list[Part]:
    """The parts of a finished run, classes first, then groups, then images.

    Args:
        files: the run's.
        samples: the prepared data's `samples.csv`.

    Raises:
        PipelineError: A file of the run is missing, broken, or of other data.
    """
    evaluation = files.evaluation
    if evaluation.train is None or evaluation.validation is None:
        return []
    train, validation = _sides(files, samples, list(evaluation.validation.iou))
    return [
        *by_class(train, validation, evaluation.train.iou, evaluation.validation.iou),
        *by_group(train, validation),
        *by_image(train, validation),
    ]


def _sides(files: RunFiles, samples: pd.DataFrame, classes: Sequence[str]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """A row an image, on the side that was compared and on validation; columns as in `analysis.parts`."""
    images = files.per_image()
    if missing := [name for name in classes if f"loss_{name}" not in images]:
        raise PipelineError(
            f"{files.run}: {runs.PER_IMAGE} has no column loss_{missing[0]}. Run `pipeline evaluate {files.run}` again."
        )
    counted = samples[samples["pixels"] > 0]
    table = images.merge(counted, on=["id", "split"])
    if len(table) != len(counted):
        raise PipelineError(
            f"{files.run}: {runs.PER_IMAGE} is of other images than the prepared data. Run `pipeline evaluate "
            f"{files.run}` again."
        )
    # Shares are written with all their digits, so that the number of pixels comes back whole.
    counts = {f"pixels_{name}": (table[f"share_{name}"] * table["pixels"]).round().astype(int) for name in classes}
    table = pd.concat([table, pd.DataFrame(counts)], axis=1)  # one by one, 150 classes would fragment the table
    _, _, compared = files.image_losses("train")
    ids = samples.loc[samples["split"] == "train", "id"].iloc[compared]
    return table[(table["split"] == "train") & table["id"].isin(ids)], table[table["split"] == "validation"]


def write_parts(path: Path, parts: dict[str, list[Part]]) -> None:
    """Write the table, a row a part, by run."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(runs.PART_COLUMNS)
        for run, found in parts.items():
            for part in found:
                writer.writerow(
                    [run, part.part, part.name, part.images, part.train_loss, part.val_loss, part.gap]
                    + ["" if iou is None else iou for iou in (part.train_iou, part.val_iou)]
                )
