"""A run's two loss curves, and the numbers that are read off them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Curves:
    """The loss on the training images and on validation, an epoch each; NaN or infinite where a run diverged.

    Attributes:
        epochs: their numbers, ascending.
        train: a loss each, in nats a pixel where the yardstick is meant.
        val: likewise.
    """

    epochs: tuple[int, ...]
    train: npt.NDArray[np.float64]
    val: npt.NDArray[np.float64]

    @property
    def finite(self) -> bool:
        """Whether every loss is a number."""
        return bool(np.isfinite(self.train).all() and np.isfinite(self.val).all())


@dataclass(frozen=True)
class Gaps:
    """What the distance between the curves comes to.

    Attributes:
        best_epoch: the number of the epoch with the lowest loss on validation, the first of several.
        best: validation minus training, there.
        last: likewise at the last epoch.
        ratio: validation by training loss at the last epoch; None where the training loss is not positive.
        rise: how much higher validation ends than at its best, as a share of it; None where that is not positive.
        epochs_after_best: trained beyond the best epoch.
    """

    best_epoch: int
    best: float
    last: float
    ratio: float | None
    rise: float | None
    epochs_after_best: int


def gaps(curves: Curves) -> Gaps | None:
    """The gaps of a run; None where some loss is NaN or infinite, or there is no epoch."""
    if not len(curves.epochs) or not curves.finite:
        return None
    train, val = curves.train, curves.val
    best = int(val.argmin())
    return Gaps(
        best_epoch=curves.epochs[best],
        best=float(val[best] - train[best]),
        last=float(val[-1] - train[-1]),
        ratio=float(val[-1] / train[-1]) if train[-1] > 0 else None,
        rise=float(val[-1] / val[best] - 1) if val[best] > 0 else None,
        epochs_after_best=len(val) - 1 - best,
    )
