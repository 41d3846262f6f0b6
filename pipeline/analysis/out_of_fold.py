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

from pipeline.analysis.gap_interval import GroupedLosses, Integers, estimate_gap


@dataclass(frozen=True)
class FoldedGap:
    """Losses of a setting over the images that its runs validated, in nats per pixel."""

    images: int  # number of images that were validated
    val_loss: float
    train_loss: float
    gap: float  # corrected for the choice of the best epochs
    low: float | None  # ends of the 95 % interval
    high: float | None
    reason: str = ""  # why there is no interval; empty otherwise


def estimate_folded_gap(
    losses: pd.DataFrame, pixels: pd.Series[int], groups: Sequence[Integers], has_groups: bool, selection_bias: float
) -> FoldedGap | None:
    """Estimate the gap of a setting over all images that were validated in one fold and trained on in another.

    Args:
        losses: Losses at the best epochs, with the columns `id`, `split` (train or validation) and `loss`; several runs
            may have the same image, and their losses are averaged.
        pixels: Numbers of evaluated pixels by image id.
        groups: As in `GroupedLosses`, for the images of `pixels`.
        has_groups: As in `GroupedLosses`.
        selection_bias: Mean of the runs' `GapInterval.selection_bias`.

    Returns:
        The gap; None if no image has both losses.
    """
    means = losses.groupby(["id", "split"])["loss"].mean().unstack()
    means = means.reindex(index=pixels.index, columns=["train", "validation"])
    known = (means.notna().all(axis=1) & (pixels > 0)).to_numpy()
    if not known.any():
        return None
    weights = pixels.to_numpy()[known].astype(np.int64)
    both = means.to_numpy(np.float64)[known]
    train_loss, val_loss = (float(loss) for loss in both.T @ weights / weights.sum())
    labels = tuple(kind[known] for kind in groups)
    differences, zeros = (
        GroupedLosses(values[None], weights, labels, has_groups)
        for values in (both[:, 1] - both[:, 0], np.zeros(len(both)))
    )
    found = estimate_gap(differences, zeros, 0, num_train_images=len(both))
    low, high = (None if end is None else end + selection_bias for end in (found.low, found.high))
    gap = val_loss - train_loss + selection_bias
    return FoldedGap(int(known.sum()), val_loss, train_loss, gap, low, high, found.reason)
