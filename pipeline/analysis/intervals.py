"""Confidence intervals of a run's losses and gap: groups are resampled, and the epoch is chosen again each time.

The interval is studentised and symmetric (Hall, On symmetric bootstrap confidence intervals, Journal of the Royal
Statistical Society B 50, 1988): image losses are skewed, and an interval out of the resampled values alone covers too
seldom. Images that share an animal, or a background, resemble each other; so whole groups are drawn, and where an image
has two groups both are drawn and their counts multiplied (Owen, The pigeonhole bootstrap, Annals of Applied Statistics
1, 2007). The standard errors are those of clusters, in one way or two (Cameron, Gelbach and Miller, Robust inference
with multiway clustering, Journal of Business & Economic Statistics 29, 2011).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

LEVEL = 0.95
RESAMPLES = 10_000
FEWEST_GROUPS = 10  # with fewer, what is resampled is too few for its spread to be known

_AT_ONCE = 2_000_000  # numbers in the largest array: 16 MB, about what a processor's cache likes


@dataclass(frozen=True)
class ImageLosses:
    """The losses of a set's images at every epoch, and what the images share.

    Attributes:
        losses: epochs x N, nats a pixel.
        pixels: N, the counted pixels of each image.
        groups: one or two arrays of N labels. An image without a group is one of its own.
    """

    losses: Floats
    pixels: Integers
    groups: tuple[Integers, ...]
    has_groups: bool = True  # False: it is not known which images belong together

    @property
    def fewest_groups(self) -> int:
        """How many groups there are, of the kind that has fewer."""
        return min(len(np.unique(labels)) for labels in self.groups)

    def mean(self) -> Floats:
        """The set's loss at every epoch, over all counted pixels: the yardstick."""
        return np.asarray(self.losses @ self.pixels / self.pixels.sum(), dtype=np.float64)


@dataclass(frozen=True)
class Interval:
    """A confidence interval, in the unit of what it is of."""

    low: float
    high: float


@dataclass(frozen=True)
class Estimate:
    """What resampling says of a number that validation chose the epoch of.

    Attributes:
        interval: at the level `LEVEL`; None where `withheld` says why.
        optimism: by how much the gap at the best epoch is too low, because the same images chose that epoch; nats a
            pixel, to be added to it. Groups that a resample leaves out say what its choice is worth elsewhere (Efron
            and Tibshirani, Improvements on cross-validation, Journal of the American Statistical Association 92, 1997).
            The interval allows for it.
        withheld: why there is no interval, else empty.
    """

    interval: Interval | None
    optimism: float | None
    withheld: str = ""


def gap_estimate(
    validation: ImageLosses,
    training: ImageLosses,
    epoch: int | None,
    *,
    seen: int,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Estimate:
    """How sure a gap is, as a statement about other images of the same kind.

    Args:
        validation: its losses.
        training: those of the training images that are compared.
        epoch: the place of the epoch it is of; None for the one with the lowest loss on validation, chosen anew in each
            resample.
        seen: how many images were trained on. The training side is resampled as the sample of them that it is; where
            it is all of them it is left as it is.
        seed: of the resampling.
        resamples: how many.

    Returns:
        The interval, or why there is none.
    """
    if not (np.isfinite(validation.losses).all() and np.isfinite(training.losses).all()):
        return Estimate(None, None, "some losses are NaN or infinite")
    share = 1 - len(training.pixels) / max(seen, len(training.pixels))
    for name, images, counts in (("validation", validation, True), ("the training side", training, share > 0)):
        if counts and images.fewest_groups < FEWEST_GROUPS:
            return Estimate(
                None,
                None,
                f"{name} has {images.fewest_groups} {'groups' if images.has_groups else 'images'}, fewer than the "
                f"{FEWEST_GROUPS} that an interval requires",
            )
    generator = np.random.default_rng(seed)
    here = int(validation.mean().argmin()) if epoch is None else epoch
    sides = [_Side(validation, 1.0)] + ([_Side(training, -1.0, share)] if share > 0 else [])
    values, squares = zip(*(side.at(here) for side in sides), strict=True)
    error = float(np.sqrt(sum(squares)))
    deviations, errors, elsewhere = [], [], np.zeros(2)
    rows = max(1, min(resamples, _AT_ONCE // max(side.size for side in sides)))
    for start in range(0, resamples, rows):
        count = min(rows, resamples - start)
        drawn = [side.draw(count, generator) for side in sides]
        epochs = drawn[0].losses.argmin(axis=1) if epoch is None else np.full(count, epoch)
        off, squared = zip(*(side.deviation(one, epochs) for side, one in zip(sides, drawn, strict=True)), strict=True)
        deviations.append(np.sum(off, axis=0))
        errors.append(np.sqrt(np.sum(squared, axis=0)))
        elsewhere += sides[0].left_out(drawn[0], epochs)
    optimism = float(elsewhere[0] / elsewhere[1] - values[0]) if epoch is None and elsewhere[1] > 0 else 0.0
    deviation = np.concatenate(deviations)
    with np.errstate(divide="ignore", invalid="ignore"):
        # Around their mean: that a chosen epoch looks too good is allowed for by the optimism. 0 / 0 is no deviation.
        pivots = np.nan_to_num((deviation - deviation.mean()) / np.concatenate(errors))
    reach = float(np.quantile(np.abs(pivots), LEVEL)) * error
    number = float((validation.mean() - training.mean())[here]) + optimism
    return Estimate(Interval(number - reach, number + reach), optimism)


@dataclass(frozen=True)
class _Drawn:
    """Resamples of a side: how often each group came, and the losses they come to."""

    counts: list[Floats]  # resamples x groups, a kind each
    pixels: Floats  # resamples
    losses: Floats  # resamples x epochs


class _Side:
    """A set of images as sums over cells: all images that have the same groups are one cell."""

    def __init__(self, images: ImageLosses, sign: float, share: float = 1.0) -> None:
        self._sign = sign
        self._share = share  # of the images of its kind that were not looked at: what is left to chance
        kinds = [np.unique(labels, return_inverse=True)[1].ravel() for labels in images.groups]
        cells, place = np.unique(np.stack(kinds), axis=1, return_inverse=True)
        self._cells = cells  # kinds x cells, the cell's group of each kind
        self._groups = [int(kind.max()) + 1 for kind in kinds]
        count = cells.shape[1]
        self._pixels = np.bincount(place.ravel(), images.pixels, count)
        self._sums = np.stack([np.bincount(place.ravel(), row * images.pixels, count) for row in images.losses])
        self._losses = self._sums.sum(axis=1) / self._pixels.sum()
        # Group sums out of cell values by a matrix product: cells x groups, of zeros and ones.
        self._members = [
            (labels[:, None] == np.arange(groups)).astype(np.float64)
            for labels, groups in zip(cells, self._groups, strict=True)
        ]
        self.size = max(count, len(images.losses), *self._groups)

    def at(self, epoch: int) -> tuple[float, float]:
        """The side's signed loss at an epoch, and the square of its standard error."""
        ones = [np.ones((1, groups)) for groups in self._groups]
        one = _Drawn(ones, self._pixels.sum(keepdims=True), self._losses[None])
        return self._sign * float(self._losses[epoch]), float(self._variance(one, np.array([epoch]))[0])

    def draw(self, count: int, generator: np.random.Generator) -> _Drawn:
        """As many groups of each kind as there are, with replacement, `count` times over."""
        counts = [
            generator.multinomial(groups, np.full(groups, 1 / groups), count).astype(np.float64)
            for groups in self._groups
        ]
        weights = self._weights(counts)
        pixels = weights @ self._pixels
        with np.errstate(divide="ignore", invalid="ignore"):
            # Two kinds may be drawn so that no image is left; such a resample says nothing.
            losses = np.where(pixels[:, None] > 0, weights @ self._sums.T / pixels[:, None], self._losses)
        return _Drawn(counts, pixels, losses)

    def deviation(self, drawn: _Drawn, epochs: Integers) -> tuple[Floats, Floats]:
        """How far each resample is from the whole set at its epoch, and the square of its standard error."""
        off = drawn.losses[np.arange(len(epochs)), epochs] - self._losses[epochs]
        return self._sign * np.sqrt(self._share) * off, self._variance(drawn, epochs)

    def left_out(self, drawn: _Drawn, epochs: Integers) -> Floats:
        """Loss and pixels of the images none of whose groups were drawn, each resample at its epoch, summed up."""
        weights = self._weights([(count == 0).astype(np.float64) for count in drawn.counts])
        return np.array([(weights * self._sums[epochs]).sum(), (weights @ self._pixels).sum()])

    def _weights(self, counts: Sequence[Floats]) -> Floats:
        weights = counts[0][:, self._cells[0]]
        for kind, count in zip(self._cells[1:], counts[1:], strict=True):
            weights = weights * count[:, kind]
        return weights

    def _variance(self, drawn: _Drawn, epochs: Integers) -> Floats:
        """The square of a mean's standard error with clusters; a group that came twice is two clusters."""
        losses = drawn.losses[np.arange(len(epochs)), epochs]
        residuals = self._sums[epochs] - losses[:, None] * self._pixels  # resamples x cells
        total = np.zeros(len(epochs))
        for kind, groups in enumerate(self._groups):
            weighted = residuals
            for other, count in enumerate(drawn.counts):
                if other != kind:
                    weighted = weighted * count[:, self._cells[other]]
            sums = weighted @ self._members[kind]
            total += (drawn.counts[kind] * sums**2).sum(axis=1) * groups / (groups - 1)
        if len(self._groups) > 1:  # counted in both
            cell = (self._weights(drawn.counts) * residuals**2).sum(axis=1)
            total = np.maximum(total - cell, cell)
        with np.errstate(divide="ignore", invalid="ignore"):
            return self._share * np.where(drawn.pixels > 0, total / drawn.pixels**2, 0)
