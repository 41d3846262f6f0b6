"""Loss curves of a run, and the gap between them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class LossCurves:
    """Training and validation loss by epoch; NaN or infinite if the run diverged."""

    epochs: tuple[int, ...]  # E epoch numbers, ascending; step numbers if `unit` is step
    # E losses; nats per pixel for the project's own runs, any unit for curves from other tools
    train: npt.NDArray[np.float64]
    val: npt.NDArray[np.float64]  # E losses in the same unit
    # step for logs of other tools that validate every few steps
    unit: Literal["epoch", "step"] = field(default="epoch", kw_only=True)

    @property
    def is_finite(self) -> bool:
        """Whether all losses are finite."""
        return bool(np.isfinite(self.train).all() and np.isfinite(self.val).all())

    @property
    def point(self) -> Literal["epoch", "validation"]:
        """Kind of the points of the curves: epochs, or validations after several epochs or steps."""
        is_every_epoch = self.unit == "epoch" and self.epochs[-1] - self.epochs[0] == len(self.epochs) - 1
        return "epoch" if is_every_epoch else "validation"

    @property
    def has_negative(self) -> bool:
        """Whether a loss is negative, as the Dice loss of nnU-Net is. Ratios of such losses have no meaning."""
        return bool((self.train < 0).any() or (self.val < 0).any())


@dataclass(frozen=True)
class Gaps:
    """Gaps between the training and validation curves of a run."""

    best_epoch: int  # number of the first epoch with the lowest validation loss
    best: float  # validation minus training loss at the best epoch
    last: float  # validation minus training loss at the last epoch
    # validation loss divided by training loss at the last epoch; None if the training loss is not positive, or any loss
    # is negative
    ratio: float | None
    # rise of the validation loss from its lowest value to the last epoch, as a share of the lowest value; None if that
    # is not positive, or any loss is negative
    rise: float | None
    epochs_after_best: int  # from the best epoch to the last one, in the unit of the curves


def compute_gaps(curves: LossCurves) -> Gaps | None:
    """Compute the gaps of a run; None if the run has no epochs, or a loss is NaN or infinite."""
    if not len(curves.epochs) or not curves.is_finite:
        return None
    train, val = curves.train, curves.val
    best = int(val.argmin())
    has_ratios = not curves.has_negative
    return Gaps(
        best_epoch=curves.epochs[best],
        best=float(val[best] - train[best]),
        last=float(val[-1] - train[-1]),
        ratio=float(val[-1] / train[-1]) if has_ratios and train[-1] > 0 else None,
        rise=float(val[-1] / val[best] - 1) if has_ratios and val[best] > 0 else None,
        epochs_after_best=curves.epochs[-1] - curves.epochs[best],
    )
