"""Check whether a run does better than predicting one class everywhere, which a low loss alone does not show.

A network that predicts only background can have a loss below that of the class frequencies: it may be less sure where
foreground is likely, and still never predict any.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pipeline.analysis.scores import Floats, baseline, most_frequent, name_foreground_iou
from pipeline.runs import Scores, SegmentationClass

MIN_IOU_GAIN = 0.01  # above the baseline's IoU; less is noise
MIN_TOTAL_GAIN = 2 * MIN_IOU_GAIN  # of IoU summed over the classes, so that of 150 classes a few learned ones count
LABEL = "no better than predicting one class everywhere"

Word = Literal["underfitting", "memorising", "undecided"]


@dataclass(frozen=True)
class OneClassBaseline:
    """The mask of the most frequent training class everywhere, on one set of images.

    Attributes:
        scores: of that mask on the set.
        predicted: the class.
        classes: of the data.
    """

    scores: Scores
    predicted: SegmentationClass
    classes: tuple[SegmentationClass, ...]

    @classmethod
    def of(cls, train_shares: Floats, shares: Floats, classes: tuple[SegmentationClass, ...]) -> OneClassBaseline:
        """Compute the baseline of a set with these class shares; shares as for `analysis.scores.baseline`."""
        return cls(baseline(train_shares, shares, classes), classes[most_frequent(train_shares)], classes)

    def is_beaten_by(self, scores: Scores) -> bool | None:
        """Return whether the scores of a run on the same set are better.

        The sum of the classes' IoU must be above the baseline's by `MIN_TOTAL_GAIN`. Where the predicted class is not
        foreground and the set has foreground, foreground IoU must be above `MIN_IOU_GAIN`, too. None if the set has
        fewer than two classes.
        """
        present = [item for item in self.classes if self.scores.iou[item.name] is not None]
        if len(present) < 2 or self.scores.mean_iou is None or scores.mean_iou is None:
            return None
        if (scores.mean_iou - self.scores.mean_iou) * len(present) <= MIN_TOTAL_GAIN:
            return False
        if self.predicted.foreground or not any(item.foreground for item in present):
            return True
        return scores.foreground_iou is not None and scores.foreground_iou > MIN_IOU_GAIN

    def compare(self, scores: Scores, where: str) -> str:
        """Put the scores of a run and those of the baseline, in brackets, into a phrase."""
        foreground = [item.name for item in self.classes if item.foreground]
        pairs = (
            ("mean IoU", scores.mean_iou, self.scores.mean_iou),
            (name_foreground_iou(foreground), scores.foreground_iou, self.scores.foreground_iou),
        )
        numbers = [
            f"{name} {own:.3f} ({base:.3f})" for name, own, base in pairs if own is not None and base is not None
        ]
        return f"{where} {', '.join(numbers)}"


@dataclass(frozen=True)
class OneClassCheck:
    """A run against the one-class baseline on validation and on the compared training images.

    Attributes:
        validation: whether it beats the baseline; None if that cannot be checked.
        training: likewise.
        phrase: the label with the numbers on both sides.
    """

    validation: bool | None
    training: bool | None
    phrase: str

    @property
    def instead_of_learning(self) -> Word | None:
        """The verdict of a run whose curves alone look like learning; None if that verdict is right."""
        if self.validation is not False:
            return None
        if self.training is None:
            return "undecided"
        return "memorising" if self.training else "underfitting"

    @property
    def not_checked(self) -> str:
        """Reason why the check was not possible, or its verdict is undecided; empty otherwise."""
        if self.validation is None:
            return "One-class baseline: validation has pixels of fewer than two classes."
        if not self.validation and self.training is None:
            return "One-class baseline: the compared training images have pixels of fewer than two classes."
        return ""


def check_one_class(
    validation: Scores, on_validation: OneClassBaseline, training: Scores, on_training: OneClassBaseline
) -> OneClassCheck:
    """Compare a run's scores on both sides with the baseline's there."""
    numbers = (
        on_validation.compare(validation, "on validation"),
        on_training.compare(training, "on the compared training images"),
    )
    phrase = f"{LABEL} ({on_validation.predicted.name}; its IoU in brackets): {'; '.join(numbers)}"
    return OneClassCheck(on_validation.is_beaten_by(validation), on_training.is_beaten_by(training), phrase)
