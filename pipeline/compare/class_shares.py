"""Class shares of the prepared images, from the pixels that `prepare` counted."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from pipeline import runs
from pipeline.analysis.scores import Floats
from pipeline.errors import PipelineError
from pipeline.runs import SegmentationClass


def class_shares(samples: pd.DataFrame, classes: Sequence[SegmentationClass]) -> Floats:
    """Share of each class in the evaluated pixels of some images, as the loss averages: over pixels, not images.

    Args:
        samples: rows of `samples.csv`.
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
    pixels = counts.groupby(samples["split"]).sum().sum()  # by split first: compensated summation
    if not pixels.sum():
        splits = ", ".join(samples["split"].unique()) or "a split"
        raise PipelineError(
            f"{runs.PREPARED / runs.SAMPLES}: no pixel of {splits} is evaluated, so nothing can be compared. Add "
            "images whose masks are not all ignored."
        )
    return (pixels / pixels.sum()).to_numpy(dtype="float64")
