"""Scores of a run on a set of images, which several artifacts contain."""

from __future__ import annotations

import math
from dataclasses import dataclass

from pipeline.artifacts.folder import Record

MIN_CLASS_IOU = 0.05  # a class with a lower IoU counts as missed


@dataclass(frozen=True)
class MissedClass(Record):
    """A class in the ground truth of a set of images that a model does not segment."""

    name: str
    iou: float  # below MIN_CLASS_IOU
    is_predicted: bool  # whether any pixel of the set is predicted as the class

    def __str__(self) -> str:
        """Return the name with the IoU, such as `cat (IoU 0.012)`, or `cat (never predicted)`."""
        return f"{self.name} ({f'IoU {self.iou:.3f}' if self.is_predicted else 'never predicted'})"


@dataclass(frozen=True)
class Scores(Record):
    """Scores of a run's model on a set of images; undefined scores are None.

    For a set without evaluated pixels, all scores are None.
    """

    loss: float | None  # cross-entropy, nats per pixel
    accuracy: float | None  # share of correctly classified pixels among the evaluated ones
    mean_iou: float | None  # mean over the classes in the ground truth; each IoU is over all pixels of the set
    foreground_iou: float | None  # None if neither ground truth nor prediction has foreground; 0 for false positives
    object_iou: float | None  # IoU of foreground and boundary as one class; None without a boundary class or object
    iou: dict[str, float | None]  # by class; None for a class that is not in the ground truth
    predicted: dict[str, float | None]  # by class, the share of evaluated pixels predicted as the class

    def find_missed_classes(self) -> tuple[MissedClass, ...]:
        """Return the classes in the ground truth whose IoU is below `MIN_CLASS_IOU`."""
        return tuple(
            MissedClass(name=name, iou=iou, is_predicted=bool(self.predicted[name]))
            for name, iou in self.iou.items()
            if iou is not None and iou < MIN_CLASS_IOU
        )


@dataclass(frozen=True)
class Calibration(Record):
    """Calibration of a run's model on a set of images."""

    confidence: float  # mean probability of the predicted class, to be compared with `Scores.accuracy`
    error: float  # expected calibration error, 0 to 1


@dataclass(frozen=True)
class DistanceScale(Record):
    """Unit and resolution of the distances between outlines."""

    unit: str  # px of the prepared images, or `data.pixel_unit`
    tolerance: float  # largest distance at which outlines count as equal, in `unit`
    smallest_pixel: float  # shortest side of a pixel of the prepared validation and test images, in `unit`
    largest_pixel: float  # longest side of such a pixel

    @property
    def digits(self) -> int:
        """Number of decimals of a distance that show a tenth of a pixel."""
        return max(0, 1 - math.floor(math.log10(self.smallest_pixel)))
