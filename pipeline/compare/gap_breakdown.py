"""Break each run's gap down by class, group and image."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from pipeline.analysis.gap_breakdown import GapPart, break_down_by_class, break_down_by_group, break_down_by_image
from pipeline.artifacts.evaluation_folder import EvaluationFolder
from pipeline.artifacts.run_folder import RunFolder
from pipeline.errors import PipelineError


def break_down_gap(trained: RunFolder, evaluated: EvaluationFolder, samples: pd.DataFrame) -> list[GapPart]:
    """Return the parts of a finished run's gap: classes first, then groups, then images.

    Raises:
        PipelineError: A file of the run is missing, broken, or of other data.
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
    """Return one row per compared training image and per validation image; columns as in `analysis.gap_breakdown`."""
    images = evaluated.read_per_image()
    if missing := [name for name in classes if f"loss_{name}" not in images]:
        raise evaluated.unreadable(evaluated.PER_IMAGE, f"it has no column loss_{missing[0]}")
    counted = samples[samples["pixels"] > 0]
    table = images.merge(counted, on=["id", "split"])
    if len(table) != len(counted):
        raise PipelineError(
            f"{evaluated.display(evaluated.PER_IMAGE)} has other images than the prepared data. Run "
            f"`{evaluated.redo_command}` again."
        )
    # Shares are written with all their digits, so the number of pixels is exact.
    counts = {f"pixels_{name}": (table[f"share_{name}"] * table["pixels"]).round().astype(int) for name in classes}
    table = pd.concat([table, pd.DataFrame(counts)], axis=1)  # one by one, 150 classes would fragment the table
    compared = trained.read_image_losses("train").index
    ids = samples.loc[samples["split"] == "train", "id"].iloc[compared]
    return table[(table["split"] == "train") & table["id"].isin(ids)], table[table["split"] == "validation"]
