"""Part of `summary.json`: validation loss as a function of the number of training images."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.artifacts.folder import Record


@dataclass(frozen=True)
class PredictedLoss(Record):
    """A predicted validation loss and its 95% interval."""

    images: int  # number of training images
    loss: float
    low: float
    high: float


@dataclass(frozen=True)
class FittedCurve(Record):
    """A power law that was fitted to the losses of several seeds at several training-set sizes."""

    points: tuple[PredictedLoss, ...]  # of the fitted law, from the fewest images to twice the most
    held_out: PredictedLoss | None  # mean loss at the most images, predicted from fewer; None if it cannot be

    @property
    def prediction(self) -> PredictedLoss:
        """The expected loss with twice as many images."""
        return self.points[-1]


@dataclass(frozen=True)
class LearningCurve(Record):
    """Validation losses of settings that differ only in the number of training images."""

    variants: tuple[str, ...]  # by number of images, ascending
    learning_rate: float
    images: tuple[int, ...]  # number of training images of each variant
    losses: tuple[tuple[float, ...], ...]  # by variant and seed
    available: int  # number of training images in the data
    fit: FittedCurve | None  # None if the losses identify no power law
    reason: str = ""  # why nothing could be fitted; empty otherwise

    @property
    def means(self) -> tuple[float, ...]:
        """Mean loss of each variant over its seeds."""
        return tuple(sum(losses) / len(losses) for losses in self.losses)

    @property
    def is_confirmed(self) -> bool | None:
        """Whether the loss at the most images is as predicted from fewer images; None if it was not predicted."""
        held_out = self.fit.held_out if self.fit else None
        return None if held_out is None else held_out.low <= self.means[-1] <= held_out.high
