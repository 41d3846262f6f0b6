"""The primary score of an image or a run: the IoU of the only foreground class, or mean IoU if there are several.

A single IoU over several merged foreground classes would say little about each of them: in street scenes, it can be 0.9
although poles and signs are never predicted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pipeline.analysis.scores import name_foreground_iou
from pipeline.artifacts.comparison import RunSummary


@dataclass(frozen=True)
class PrimaryScore:
    """The score that describes an image or a run in one number."""

    field: Literal["foreground_iou", "mean_iou"]  # attribute of `Scores` and column of `per_image.csv`
    name: str  # as written in sentences

    @classmethod
    def of(cls, foreground: Sequence[str]) -> PrimaryScore:
        """Choose the primary score for data with these foreground classes."""
        if len(foreground) == 1:
            return cls("foreground_iou", name_foreground_iou(foreground))
        return cls("mean_iou", "mean IoU")

    @property
    def is_mean(self) -> bool:
        """Whether this score is the mean IoU."""
        return self.field == "mean_iou"

    def of_validation(self, row: RunSummary) -> float | None:
        """Return a run's score on validation; None if it is undefined."""
        return row.val_mean_iou if self.is_mean else row.val_foreground_iou

    def of_showcase(self, row: RunSummary) -> float | None:
        """Return a run's score on the first showcase image; None if it is undefined."""
        return row.showcase_mean_iou if self.is_mean else row.showcase_iou
