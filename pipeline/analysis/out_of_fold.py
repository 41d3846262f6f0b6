"""Gap of a setting over all folds of a cross-validation.

Every image is validated by a network that was not trained on it, and is a training image of the networks of the other
folds. Both losses are thus known for the same images. Their difference by image varies less than the losses of
different images, so that the interval is narrower than that of a single run.

The interval accounts for the choice of the images, by resampling groups, but not for the training sets: those of two
folds share most of their images, and no unbiased estimator of this part of the variance exists (Bengio and Grandvalet,
No unbiased estimator of the variance of k-fold cross-validation, JMLR 5, 2004).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from pipeline.analysis.clustered_mean import GroupedLosses, Integers
from pipeline.analysis.gap_interval import estimate_gap


@dataclass(frozen=True)
class FoldedGap:
    """Gap of a setting over the images that its runs validated, in nats per pixel."""

    images: int  # number of images that were validated
    gap: float  # corrected for the choice of the best epochs
    low: float | None  # ends of the 95% interval; None if there are too few groups
    high: float | None


def estimate_folded_gap(
    losses: pd.DataFrame, pixels: pd.Series[int], groups: Sequence[Integers], has_groups: bool, selection_bias: float
) -> FoldedGap | None:
    """Estimate the gap of a setting over all images that were validated in one fold and trained on in another.

    Args:
        losses: Losses at the best epochs, with the columns `run`, `id`, `split` (train or validation) and `loss`.
            Losses of the same image in several runs are averaged.
        pixels: Numbers of evaluated pixels by image id.
        groups: As in `GroupedLosses`, for the images of `pixels`.
        has_groups: As in `GroupedLosses`.
        selection_bias: Mean of the runs' `GapInterval.selection_bias`.

    Returns:
        The gap; None if no image has both losses.
    """
    table = losses.dropna(subset=["loss"]).assign(pixels=lambda rows: rows["id"].map(pixels))
    means = _average_by_image(table, table["loss"], pixels.index)
    known = (means.notna().all(axis=1) & (pixels > 0)).to_numpy()
    if not known.any():
        return None
    weights = pixels.to_numpy()[known].astype(np.int64)
    train_loss, val_loss = (float(loss) for loss in means.to_numpy(np.float64)[known].T @ weights / weights.sum())
    # A run that learned worse has higher losses on both sides, which cancel in the gap, but not in the difference of
    # an image's losses, because they are from different runs. Therefore, each run's level is removed from it.
    level = _average_by_run(table[table["split"] == "train"])
    adjusted = _average_by_image(table, table["loss"] - table["run"].map(level), pixels.index).to_numpy()[known]
    labels = tuple(kind[known] for kind in groups)
    differences, zeros = (
        GroupedLosses(values[None], weights, labels, has_groups)
        for values in (adjusted[:, 1] - adjusted[:, 0], np.zeros(len(weights)))
    )
    found = estimate_gap(differences, zeros, 0, num_train_images=len(weights))
    gap = val_loss - train_loss + selection_bias
    shift = gap - float(differences.compute_means()[0])
    low, high = (None if end is None else end + shift for end in (found.low, found.high))
    return FoldedGap(int(known.sum()), gap, low, high)


def _average_by_image(table: pd.DataFrame, losses: pd.Series[float], images: pd.Index[str]) -> pd.DataFrame:
    """Average losses over runs: a table with one row per image and the columns `train` and `validation`."""
    means = losses.groupby([table["id"], table["split"]]).mean().unstack()
    return means.reindex(index=images, columns=["train", "validation"])


def _average_by_run(table: pd.DataFrame) -> pd.Series[float]:
    """Average losses over the pixels of each run's images."""
    sums = (table["loss"] * table["pixels"]).groupby(table["run"]).sum()
    return sums / table.groupby("run")["pixels"].sum()
