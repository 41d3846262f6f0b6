"""Break down each run's gap by class, group and image."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from pipeline.analysis.gap_breakdown import GapPart, break_down_by_class, break_down_by_group, break_down_by_image
from pipeline.artifacts.evaluation_folder import EvaluationFolder
from pipeline.artifacts.run_folder import RunFolder
from pipeline.errors import PipelineError


def break_down_gap(trained: RunFolder, evaluated: EvaluationFolder, samples: pd.DataFrame) -> list[GapPart]:
    """Break down a finished run's gap: by class first, then by group, then by image.

    Raises:
        PipelineError: A file of the run is missing or broken, or its images do not match the prepared data.
    """
    evaluation = evaluated.metrics
    if evaluation.train is None or evaluation.validation is None:
        return []
    train, validation = _join_pixels(trained, evaluated, samples, list(evaluation.validation.iou))
    return [
        *break_down_by_class(train, validation, evaluation.train.iou, evaluation.validation.iou),
        *break_down_by_group(train, validation),
        *break_down_by_image(train, validation),
    ]


def _join_pixels(
    trained: RunFolder, evaluated: EvaluationFolder, samples: pd.DataFrame, classes: Sequence[str]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Join the images' losses with their groups and numbers of pixels, as `analysis.gap_breakdown` expects.

    Returns:
        A table of the compared training images and one of the validation images, with one row per image.
    """
    images = evaluated.read_per_image()
    if missing := [name for name in classes if f"loss_{name}" not in images]:
        raise evaluated.unreadable(evaluated.PER_IMAGE, f"it has no column loss_{missing[0]}")
    counted = samples[samples["pixels"] > 0]
    table = images.merge(counted, on=["id", "split"])
    if len(table) != len(counted):
        raise PipelineError(
            f"The images in {evaluated.display(evaluated.PER_IMAGE)} do not match the prepared data. Run "
            f"`{evaluated.redo_command}` again."
        )
    # Shares are written with enough digits that the numbers of pixels are exact.
    counts = {f"pixels_{name}": (table[f"share_{name}"] * table["pixels"]).round().astype(int) for name in classes}
    table = pd.concat([table, pd.DataFrame(counts)], axis=1)  # columns added one by one would fragment the table
    compared = trained.read_image_losses("train").index
    ids = samples.loc[samples["split"] == "train", "id"].iloc[compared]
    return table[(table["split"] == "train") & table["id"].isin(ids)], table[table["split"] == "validation"]
