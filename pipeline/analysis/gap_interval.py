"""Confidence interval of a run's gap, from a bootstrap over groups of images.

The best epoch is chosen again in each resample. The interval is studentized and symmetric (Hall, On symmetric bootstrap
confidence intervals, Journal of the Royal Statistical Society B 50, 1988): image losses are skewed, and quantiles of
the resampled gaps would cover the true gap too rarely. `clustered_mean` describes how groups of images are resampled.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.analysis.clustered_mean import INFINITE, MIN_GROUPS, ClusteredMean, GroupedLosses, split_resamples

CONFIDENCE_LEVEL = 0.95
NUM_RESAMPLES = 10_000


@dataclass(frozen=True)
class GapInterval:
    """Confidence interval of a gap at `CONFIDENCE_LEVEL`, centered on the gap corrected for selection bias."""

    low: float | None = None  # lower end in nats per pixel; None if there is no interval
    high: float | None = None  # upper end in nats per pixel; None if there is no interval
    # Nats per pixel to add to the gap at the best epoch, which is too low because that epoch was chosen on the same
    # images. Estimated on the groups that a resample leaves out (Efron and Tibshirani, Improvements on
    # cross-validation, Journal of the American Statistical Association 92, 1997).
    selection_bias: float | None = None
    reason: str = ""  # why there is no interval; empty otherwise


def estimate_gap(
    validation: GroupedLosses,
    train: GroupedLosses,
    epoch: int | None,
    *,
    num_train_images: int,
    seed: int = 0,
    num_resamples: int = NUM_RESAMPLES,
) -> GapInterval:
    """Estimate the confidence interval of the gap between validation and training loss.

    Args:
        validation: losses of the validation images.
        train: losses of the compared training images.
        epoch: index of the epoch at which the gap is measured; None for the epoch with the lowest validation loss,
            which is chosen again in each resample.
        num_train_images: number of images that the run was trained on. The compared training images are a sample of
            these; if all of them are compared, the training loss has no sampling error.
        seed: seed of the resampling.
        num_resamples: number of bootstrap resamples.

    Returns:
        The interval, or the reason why there is none.
    """
    if not (np.isfinite(validation.losses).all() and np.isfinite(train.losses).all()):
        return GapInterval(reason="some losses are NaN or infinite")
    unseen_share = 1 - len(train.pixels) / max(num_train_images, len(train.pixels))
    for name, images, is_sample in (("validation", validation, True), ("the training side", train, unseen_share > 0)):
        if is_sample and images.num_groups < MIN_GROUPS:
            found = f"{images.num_groups} {'groups' if images.has_groups else 'images'}"
            return GapInterval(reason=f"{name} has {found}, fewer than the {MIN_GROUPS} required for an interval")
    generator = np.random.default_rng(seed)
    measured_epoch = int(validation.compute_means().argmin()) if epoch is None else epoch
    sides = [ClusteredMean(validation, 1.0)] + ([ClusteredMean(train, -1.0, unseen_share)] if unseen_share > 0 else [])
    values, variances = zip(*(side.measure(measured_epoch) for side in sides), strict=True)
    error = float(np.sqrt(sum(variances)))
    deviations, errors, left_out = [], [], np.zeros(2)
    for count in split_resamples(num_resamples, max(side.size for side in sides)):
        resamples = [side.resample(count, generator) for side in sides]
        epochs = resamples[0].losses.argmin(axis=1) if epoch is None else np.full(count, epoch)
        batch_deviations, batch_variances = zip(
            *(side.compute_deviations(drawn, epochs) for side, drawn in zip(sides, resamples, strict=True)),
            strict=True,
        )
        deviations.append(np.sum(batch_deviations, axis=0))
        errors.append(np.sqrt(np.sum(batch_variances, axis=0)))
        left_out += sides[0].sum_left_out(resamples[0], epochs)
    selection_bias = float(left_out[0] / left_out[1] - values[0]) if epoch is None and left_out[1] > 0 else 0.0
    deviation = np.concatenate(deviations)
    with np.errstate(divide="ignore", invalid="ignore"):
        # Centered, because selection_bias already corrects for the choice of the epoch. 0 / 0 means no deviation.
        pivots = np.nan_to_num((deviation - deviation.mean()) / np.concatenate(errors))
    quantile = float(np.quantile(np.abs(pivots), CONFIDENCE_LEVEL))
    if quantile > INFINITE:
        return GapInterval(selection_bias=selection_bias, reason="nearly all images have the same loss")
    margin = quantile * error
    gap = float((validation.compute_means() - train.compute_means())[measured_epoch]) + selection_bias
    return GapInterval(gap - margin, gap + margin, selection_bias)
