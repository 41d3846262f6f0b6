"""Confidence interval of a run's gap, from a bootstrap over groups of images.

The best epoch is chosen again in each resample. The interval is studentized and symmetric (Hall, On symmetric bootstrap
confidence intervals, Journal of the Royal Statistical Society B 50, 1988): image losses are skewed, and quantiles of
the resampled gaps would cover the true gap too rarely. Images of the same animal, or with the same background, resemble
each other, so whole groups are resampled. If images have two kinds of groups, both are resampled, and their counts are
multiplied (Owen, The pigeonhole bootstrap, Annals of Applied Statistics 1, 2007). Standard errors are clustered in one
or two ways (Cameron, Gelbach and Miller, Robust inference with multiway clustering, Journal of Business & Economic
Statistics 29, 2011).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

CONFIDENCE_LEVEL = 0.95
NUM_RESAMPLES = 10_000
MIN_GROUPS = 10  # with fewer groups, estimates of the variance between groups are unreliable

_MAX_ARRAY_SIZE = 2_000_000  # elements of the largest array: 16 MB, about the size of a CPU cache


@dataclass(frozen=True)
class GroupedLosses:
    """Losses of N images at E epochs, and the groups of the images."""

    losses: Floats  # E x N, nats per pixel
    pixels: Integers  # N, number of evaluated pixels of each image
    # one or two arrays of N labels, one per kind of group; an image without a group has its own label
    groups: tuple[Integers, ...]
    has_groups: bool = True  # False if it is unknown which images belong together

    @property
    def num_groups(self) -> int:
        """Number of groups of the kind with the fewest groups."""
        return min(len(np.unique(labels)) for labels in self.groups)

    def compute_means(self) -> Floats:
        """Compute the loss over all images at every epoch: E values in nats per evaluated pixel."""
        return np.asarray(self.losses @ self.pixels / self.pixels.sum(), dtype=np.float64)


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
    sides = [_ClusteredMean(validation, 1.0)] + (
        [_ClusteredMean(train, -1.0, unseen_share)] if unseen_share > 0 else []
    )
    values, variances = zip(*(side.measure(measured_epoch) for side in sides), strict=True)
    error = float(np.sqrt(sum(variances)))
    deviations, errors, left_out = [], [], np.zeros(2)
    batch_size = max(1, min(num_resamples, _MAX_ARRAY_SIZE // max(side.size for side in sides)))
    for start in range(0, num_resamples, batch_size):
        count = min(batch_size, num_resamples - start)
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
    margin = float(np.quantile(np.abs(pivots), CONFIDENCE_LEVEL)) * error
    gap = float((validation.compute_means() - train.compute_means())[measured_epoch]) + selection_bias
    return GapInterval(gap - margin, gap + margin, selection_bias)


@dataclass(frozen=True)
class _Resamples:
    """R bootstrap resamples of a set of images."""

    counts: list[Floats]  # one array per kind of group, R x groups: how often each group was drawn
    pixels: Floats  # R, number of evaluated pixels
    losses: Floats  # R x E, mean losses in nats per pixel


class _ClusteredMean:
    """Mean losses of a set of images, with clustered standard errors.

    Images that belong to the same groups are summed into one cell.

    Args:
        images: the set of images.
        sign: sign of the set's loss in the gap, 1 or -1.
        variance_factor: share of the population that is not in the set, which scales the variance.
    """

    def __init__(self, images: GroupedLosses, sign: float, variance_factor: float = 1.0) -> None:
        self._sign = sign
        self._variance_factor = variance_factor
        kinds = [np.unique(labels, return_inverse=True)[1].ravel() for labels in images.groups]
        cells, cell_index = np.unique(np.stack(kinds), axis=1, return_inverse=True)
        self._cells = cells  # kinds x cells: the group of each kind that a cell belongs to
        self._num_groups = [int(kind.max()) + 1 for kind in kinds]
        count = cells.shape[1]
        self._pixels = np.bincount(cell_index.ravel(), images.pixels, count)
        self._sums = np.stack([np.bincount(cell_index.ravel(), row * images.pixels, count) for row in images.losses])
        self._losses = self._sums.sum(axis=1) / self._pixels.sum()
        # One matrix of zeros and ones per kind, cells x groups: multiplying by it sums cells by group.
        self._membership = [
            (labels[:, None] == np.arange(groups)).astype(np.float64)
            for labels, groups in zip(cells, self._num_groups, strict=True)
        ]
        self.size = max(count, len(images.losses), *self._num_groups)

    def measure(self, epoch: int) -> tuple[float, float]:
        """Return the signed loss of the set at an epoch, and its variance."""
        counts = [np.ones((1, groups)) for groups in self._num_groups]
        original = _Resamples(counts, self._pixels.sum(keepdims=True), self._losses[None])
        return self._sign * float(self._losses[epoch]), float(self._compute_variance(original, np.array([epoch]))[0])

    def resample(self, count: int, generator: np.random.Generator) -> _Resamples:
        """Draw `count` resamples with replacement; each has as many groups of each kind as the original."""
        counts = [
            generator.multinomial(groups, np.full(groups, 1 / groups), count).astype(np.float64)
            for groups in self._num_groups
        ]
        weights = self._weight_cells(counts)
        pixels = weights @ self._pixels
        with np.errstate(divide="ignore", invalid="ignore"):
            # With two kinds of groups, a resample may have no images; its deviation is then 0.
            losses = np.where(pixels[:, None] > 0, weights @ self._sums.T / pixels[:, None], self._losses)
        return _Resamples(counts, pixels, losses)

    def compute_deviations(self, resamples: _Resamples, epochs: Integers) -> tuple[Floats, Floats]:
        """Compute the signed deviation of each resample's loss from the loss of the set, and its variance (R each)."""
        differences = resamples.losses[np.arange(len(epochs)), epochs] - self._losses[epochs]
        deviations = self._sign * np.sqrt(self._variance_factor) * differences
        return deviations, self._compute_variance(resamples, epochs)

    def sum_left_out(self, resamples: _Resamples, epochs: Integers) -> Floats:
        """Sum the losses and pixels of left-out images over all resamples, each at its own epoch.

        An image is left out of a resample if none of its groups was drawn.
        """
        weights = self._weight_cells([(count == 0).astype(np.float64) for count in resamples.counts])
        return np.array([(weights * self._sums[epochs]).sum(), (weights @ self._pixels).sum()])

    def _weight_cells(self, counts: Sequence[Floats]) -> Floats:
        weights = counts[0][:, self._cells[0]]
        for kind, count in zip(self._cells[1:], counts[1:], strict=True):
            weights = weights * count[:, kind]
        return weights

    def _compute_variance(self, resamples: _Resamples, epochs: Integers) -> Floats:
        """Compute the clustered variance of the mean; a group that was drawn twice counts as two clusters."""
        losses = resamples.losses[np.arange(len(epochs)), epochs]
        residuals = self._sums[epochs] - losses[:, None] * self._pixels  # R x cells
        total = np.zeros(len(epochs))
        for kind, groups in enumerate(self._num_groups):
            weighted = residuals
            for other, count in enumerate(resamples.counts):
                if other != kind:
                    weighted = weighted * count[:, self._cells[other]]
            sums = weighted @ self._membership[kind]
            total += (resamples.counts[kind] * sums**2).sum(axis=1) * groups / (groups - 1)
        if len(self._num_groups) > 1:  # both kinds include the variance within cells
            within_cells = (self._weight_cells(resamples.counts) * residuals**2).sum(axis=1)
            total = np.maximum(total - within_cells, within_cells)
        with np.errstate(divide="ignore", invalid="ignore"):
            return self._variance_factor * np.where(resamples.pixels > 0, total / resamples.pixels**2, 0)
