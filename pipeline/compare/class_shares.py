"""Class shares of the prepared images, from the pixels that `prepare` counted."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from pipeline import runs
from pipeline.analysis.scores import Floats
from pipeline.errors import PipelineError
from pipeline.runs import SegmentationClass


def class_shares(samples: pd.DataFrame, split: str, classes: Sequence[SegmentationClass]) -> Floats:
    """Compute the share of each class in the evaluated pixels of a split: over pixels, not images, as the loss.

    Args:
        samples: rows of `samples.csv`, of this split and others.
        split: its name.
        classes: of the data.

    Raises:
        PipelineError: A column is missing, or no pixel is evaluated.
    """
    try:
        counts = samples[[f"share_{item.name}" for item in classes]].mul(samples["pixels"], axis=0)
    except KeyError as error:
        raise PipelineError(
            f"{runs.PREPARED / runs.SAMPLES} has no column {error}. Prepare the data again: dvc repro --force prepare"
        ) from None
    pixels = counts.groupby(samples["split"]).sum()
    if split not in pixels.index or not pixels.loc[split].sum():
        raise PipelineError(
            f"{runs.PREPARED / runs.SAMPLES}: no pixel of {split} is evaluated, so nothing can be compared. Add images "
            "whose masks are not all ignored."
        )
    return (pixels.loc[split] / pixels.loc[split].sum()).to_numpy(dtype="float64")
