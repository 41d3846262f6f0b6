"""Scores of a run on a set of images, as several artifacts hold them."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.artifacts.folder import Record

MIN_CLASS_IOU = 0.05  # a class below it counts as missed: less than a twentieth of its area is segmented right


@dataclass(frozen=True)
class MissedClass(Record):
    """A class that the ground truth of a set has and a model does not segment."""

    name: str
    iou: float  # below MIN_CLASS_IOU
    is_predicted: bool  # for any pixel of the set

    def __str__(self) -> str:
        """Return the class with its IoU."""
        return f"{self.name} ({f'IoU {self.iou:.3f}' if self.is_predicted else 'never predicted'})"


@dataclass(frozen=True)
class Scores(Record):
    """Scores of a run's model on a set of images; None is undefined, which is not zero.

    A set without evaluated pixels has no scores at all.
    """

    loss: float | None  # cross-entropy, nats per pixel
    accuracy: float | None  # share of the evaluated pixels
    mean_iou: float | None  # over the set's pixels and the classes present in the ground truth
    foreground_iou: float | None  # None without foreground in ground truth and prediction; 0 for false positives
    object_iou: float | None  # foreground and its boundary as one class; None without a boundary class, and as above
    iou: dict[str, float | None]  # by class; None for a class that is not in the ground truth
    predicted: dict[str, float | None]  # by class, the share of the evaluated pixels that are predicted as it

    def find_missed_classes(self) -> tuple[MissedClass, ...]:
        """Return the classes of the ground truth whose IoU is below `MIN_CLASS_IOU`."""
        return tuple(
            MissedClass(name=name, iou=iou, is_predicted=bool(self.predicted[name]))
            for name, iou in self.iou.items()
            if iou is not None and iou < MIN_CLASS_IOU
        )


@dataclass(frozen=True)
class Calibration(Record):
    """Confidence of a run's model on a set, to be compared with `Scores.accuracy`."""

    confidence: float  # mean probability of the predicted class
    error: float  # expected calibration error, 0 to 1
