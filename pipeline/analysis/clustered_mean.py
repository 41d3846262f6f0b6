"""Means over images whose standard errors are clustered by group, and their bootstrap resamples.

Images of the same animal, or with the same background, resemble each other, so whole groups are resampled. If images
have two kinds of groups, both are resampled, and their counts are multiplied (Owen, The pigeonhole bootstrap, Annals of
Applied Statistics 1, 2007). Standard errors are clustered in one or two ways (Cameron, Gelbach and Miller, Robust
inference with multiway clustering, Journal of Business & Economic Statistics 29, 2011).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

MIN_GROUPS = 10  # with fewer groups, estimates of the variance between groups are unreliable
INFINITE = 1e100  # a deviation divided by the error of a resample without variance is larger than this

_MAX_ARRAY_SIZE = 2_000_000  # elements of the largest array: 16 MB, about the size of a CPU cache
_ROUNDING = 1e-12  # a difference below this fraction of its terms is 0 except for rounding errors


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
class Resamples:
    """R bootstrap resamples of a set of images."""

    counts: list[Floats]  # one array per kind of group, R x groups: how often each group was drawn
    pixels: Floats  # R, number of evaluated pixels
    losses: Floats  # R x E, mean losses in nats per pixel


def split_resamples(num_resamples: int, size: int) -> Iterator[int]:
    """Split a number of resamples into batches, whose arrays have `size` elements per resample."""
    batch_size = max(1, min(num_resamples, _MAX_ARRAY_SIZE // size))
    for start in range(0, num_resamples, batch_size):
        yield min(batch_size, num_resamples - start)


class ClusteredMean:
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
        sums = [np.bincount(cell_index.ravel(), row * images.pixels, count) for row in images.losses]
        self._sums: Floats = np.stack(sums).astype(np.float64)
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
        original = Resamples(counts, self._pixels.sum(keepdims=True), self._losses[None])
        return self._sign * float(self._losses[epoch]), float(self._compute_variance(original, np.array([epoch]))[0])

    def resample(self, count: int, generator: np.random.Generator) -> Resamples:
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
        return Resamples(counts, pixels, losses)

    def compute_deviations(self, resamples: Resamples, epochs: Integers) -> tuple[Floats, Floats]:
        """Compute the signed deviation of each resample's loss from the loss of the set, and its variance (R each)."""
        differences = resamples.losses[np.arange(len(epochs)), epochs] - self._losses[epochs]
        deviations = self._sign * np.sqrt(self._variance_factor) * differences
        return deviations, self._compute_variance(resamples, epochs)

    def measure_all(self) -> tuple[Floats, Floats]:
        """Return the signed losses of the set at all epochs, and their variances (E each)."""
        counts = [np.ones((1, groups)) for groups in self._num_groups]
        original = Resamples(counts, self._pixels.sum(keepdims=True), self._losses[None])
        return self._sign * self._losses, self._compute_all_variances(original)[0]

    def compute_all_deviations(self, resamples: Resamples) -> tuple[Floats, Floats]:
        """Compute the signed deviations of each resample's losses at all epochs, and their variances (R x E each)."""
        deviations = self._sign * np.sqrt(self._variance_factor) * (resamples.losses - self._losses)
        return deviations, self._compute_all_variances(resamples)

    def sum_left_out(self, resamples: Resamples, epochs: Integers) -> Floats:
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

    def _compute_variance(self, resamples: Resamples, epochs: Integers) -> Floats:
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

    def _compute_all_variances(self, resamples: Resamples) -> Floats:
        """Compute the clustered variances of the means at all epochs (R x E), like `_compute_variance` for one epoch.

        A residual is the deviation of a cell's sum from the mean of the set, minus its pixels times the deviation of
        the resample's mean. Sums of squared residuals are therefore sums of products that do not depend on the mean.
        """
        pixels = self._pixels.astype(np.float64)
        sums: Floats = self._sums.T - np.outer(pixels, self._losses)  # cells x E
        sums[np.abs(sums) <= _ROUNDING * np.abs(self._sums.T)] = 0
        shift: Floats = resamples.losses - self._losses  # R x E
        total = np.zeros_like(shift)
        for kind, groups in enumerate(self._num_groups):
            others = [count[:, self._cells[other]] for other, count in enumerate(resamples.counts) if other != kind]
            total += self._sum_squares(resamples.counts[kind], kind, others, sums, shift) * groups / (groups - 1)
        if len(self._num_groups) > 1:  # both kinds include the variance within cells
            within_cells = _sum_squared_residuals(self._weight_cells(resamples.counts), sums, pixels, shift)
            total = np.maximum(total - within_cells, within_cells)
        drawn = resamples.pixels[:, None]
        with np.errstate(divide="ignore", invalid="ignore"):
            return self._variance_factor * np.where(drawn > 0, total / drawn**2, 0)

    def _sum_squares(self, counts: Floats, kind: int, others: Sequence[Floats], sums: Floats, shift: Floats) -> Floats:
        """Sum the squared residuals of the groups of a kind, weighted by `counts` (R x groups); returns R x E.

        `others` has the counts of the other kind by cell (R x cells), if there is one.
        """
        if not others:  # a cell is a group
            return _sum_squared_residuals(counts, sums, self._pixels.astype(np.float64), shift)
        weights, membership = others[0], self._membership[kind]
        pixels = (weights * self._pixels) @ membership  # R x groups
        columns = []
        for epoch in range(sums.shape[1]):
            residuals = (weights * sums[:, epoch]) @ membership - shift[:, epoch, None] * pixels
            columns.append((counts * residuals**2).sum(axis=1))
        return np.stack(columns, axis=1)


def _sum_squared_residuals(weights: Floats, sums: Floats, pixels: Floats, shift: Floats) -> Floats:
    """Compute the sum of `weights` x (`sums` - `shift` x `pixels`) squared over cells.

    Args:
        weights: R x cells.
        sums: cells x E.
        pixels: one value per cell.
        shift: R x E.

    Returns:
        R x E; exactly 0 if all residuals are.
    """
    squares = weights @ sums**2
    total = squares - 2 * shift * (weights @ (sums * pixels[:, None])) + shift**2 * (weights @ pixels**2)[:, None]
    return np.where(total > _ROUNDING * squares, total, 0)
