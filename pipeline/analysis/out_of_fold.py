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
    table = table[table["pixels"] > 0]
    train = table[table["split"] == "train"]
    if train.empty:
        return None
    # A run that learned worse has higher losses on both sides. They cancel in the mean gap only if all runs have the
    # same weight on both sides, and never in the difference of an image's losses, which are from different runs.
    levels = _estimate_levels(train)
    means = _average_by_image(table, table["loss"] - table["run"].map(levels), pixels.index)
    known = means.notna().all(axis=1).to_numpy()
    if not known.any():
        return None
    train_losses, val_losses = means.to_numpy(np.float64)[known].T
    weights, labels = pixels.to_numpy()[known].astype(np.int64), tuple(kind[known] for kind in groups)
    differences, zeros = (
        GroupedLosses(values[None], weights, labels, has_groups)
        for values in (val_losses - train_losses, np.zeros(len(weights)))
    )
    found = estimate_gap(differences, zeros, 0, num_train_images=len(weights))
    low, high = (None if end is None else end + selection_bias for end in (found.low, found.high))
    return FoldedGap(int(known.sum()), float(differences.compute_means()[0]) + selection_bias, low, high)


def _average_by_image(table: pd.DataFrame, losses: pd.Series[float], images: pd.Index[str]) -> pd.DataFrame:
    """Average losses over runs: a table with one row per image and the columns `train` and `validation`."""
    means = losses.groupby([table["id"], table["split"]]).mean().unstack()
    return means.reindex(index=images, columns=["train", "validation"])


def _estimate_levels(train: pd.DataFrame) -> pd.Series[float]:
    """Estimate how much higher the losses of each run are than those of the other runs on the same training images.

    The losses are modeled as the sum of an effect of the image and the level of the run, by least squares weighted by
    pixels. If no image connects two runs, as with two folds, their levels are their mean losses.
    """
    losses = train.pivot_table(index="id", columns="run", values="loss")
    weights = losses.notna().to_numpy(np.float64) * train.groupby("id")["pixels"].first().to_numpy()[:, None]
    filled = losses.fillna(0.0).to_numpy()
    means = (weights * filled).sum(axis=0) / weights.sum(axis=0)
    weighted = weights * (filled - means)
    # The normal equations of the levels' deviations from the means, without the effects of the images
    shares = weights / weights.sum(axis=1, keepdims=True)
    matrix = np.diag(weights.sum(axis=0)) - weights.T @ shares
    deviations = np.linalg.lstsq(matrix, weighted.sum(axis=0) - shares.T @ weighted.sum(axis=1))[0]
    return pd.Series(means + deviations, index=losses.columns)
