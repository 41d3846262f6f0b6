"""Baselines that ignore the image: the class-prior baseline, and whether a run beats predicting one class everywhere.

The loss alone does not show the latter. A network that predicts only background can have a loss below that of the class
frequencies: it may be less confident where foreground is likely, and still never predict any.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from pipeline.analysis.scores import Floats, compute_scores, name_foreground_iou
from pipeline.artifacts.prepared_data import SegmentationClass
from pipeline.artifacts.scores import Scores

MIN_CLASS_SHARE = 1e-6  # of training pixels, for a class that training does not have: its loss is finite
MIN_IOU_GAIN = 0.01  # above the baseline's IoU; less is noise
MIN_TOTAL_GAIN = 2 * MIN_IOU_GAIN  # of IoU summed over the classes, so that of 150 classes a few learned ones count
ONE_CLASS_LABEL = "no better than predicting one class everywhere"

FallbackVerdict = Literal["underfitting", "memorizing", "undecided"]


def compute_class_prior_baseline(
    train_shares: Floats, shares: Floats, classes: tuple[SegmentationClass, ...]
) -> Scores:
    """Compute the scores of predicting the class shares of training for every pixel.

    The loss is the cross-entropy between the shares of the set and those of training. The mask is the most frequent
    class of training everywhere.

    Args:
        train_shares: C shares of the training pixels.
        shares: C shares of the pixels of the evaluated set.
        classes: the C classes.

    Returns:
        The scores on the evaluated set; the loss is in nats per pixel.
    """
    loss = float(-(shares * np.log(np.maximum(train_shares, MIN_CLASS_SHARE))).sum())
    pixels = np.round(shares * 1e9).astype(np.int64)
    confusion = np.zeros((len(classes), len(classes)), dtype=np.int64)
    confusion[:, np.argmax(train_shares)] = pixels
    return compute_scores(loss, confusion, classes)


def pair_with_baseline(
    mean_iou: float | None, foreground_iou: float | None, baseline: Scores, foreground: Sequence[str]
) -> list[tuple[str, float, float]]:
    """List the name, the value and the baseline of each of two scores, where both are defined.

    `foreground` are the names of the foreground classes.
    """
    pairs = (
        ("mean IoU", mean_iou, baseline.mean_iou),
        (name_foreground_iou(foreground), foreground_iou, baseline.foreground_iou),
    )
    return [(name, value, base) for name, value, base in pairs if value is not None and base is not None]


@dataclass(frozen=True)
class OneClassBaseline:
    """The mask of the most frequent training class everywhere, on one set of images."""

    scores: Scores  # of that mask on the set
    predicted_class: SegmentationClass  # the most frequent training class
    classes: tuple[SegmentationClass, ...]  # all classes of the data

    @classmethod
    def from_shares(
        cls, train_shares: Floats, shares: Floats, classes: tuple[SegmentationClass, ...]
    ) -> OneClassBaseline:
        """Compute the baseline of a set; arguments as for `compute_class_prior_baseline`."""
        scores = compute_class_prior_baseline(train_shares, shares, classes)
        return cls(scores, classes[np.argmax(train_shares)], classes)

    def is_beaten_by(self, scores: Scores) -> bool | None:
        """Return whether the scores of a run on the same set are better; None if the set has fewer than two classes.

        The sum of the classes' IoU must exceed the baseline's by more than `MIN_TOTAL_GAIN`. If the predicted class is
        not foreground and the set has foreground, foreground IoU must also exceed `MIN_IOU_GAIN`.
        """
        present = [item for item in self.classes if self.scores.iou[item.name] is not None]
        if len(present) < 2 or self.scores.mean_iou is None or scores.mean_iou is None:
            return None
        if (scores.mean_iou - self.scores.mean_iou) * len(present) <= MIN_TOTAL_GAIN:
            return False
        if self.predicted_class.foreground or not any(item.foreground for item in present):
            return True
        return scores.foreground_iou is not None and scores.foreground_iou > MIN_IOU_GAIN

    def describe_scores(self, scores: Scores, where: str) -> str:
        """Format the scores of a run, with those of the baseline in brackets."""
        foreground = [item.name for item in self.classes if item.foreground]
        pairs = pair_with_baseline(scores.mean_iou, scores.foreground_iou, self.scores, foreground)
        return f"{where} {', '.join(f'{name} {value:.3f} ({baseline:.3f})' for name, value, baseline in pairs)}"


@dataclass(frozen=True)
class OneClassCheck:
    """A run against the one-class baseline on validation and on the compared training images."""

    beats_on_validation: bool | None  # whether the run beats the baseline there; None if that cannot be checked
    beats_on_train: bool | None  # the same for the compared training images
    phrase: str  # the label with the numbers of both sides

    @property
    def fallback_verdict(self) -> FallbackVerdict | None:
        """The verdict of a run whose curves alone look like learning; None if it is learning."""
        if self.beats_on_validation is not False:
            return None
        if self.beats_on_train is None:
            return "undecided"
        return "memorizing" if self.beats_on_train else "underfitting"

    @property
    def not_checked(self) -> str:
        """Reason why the check was not possible, or its verdict is undecided; empty otherwise."""
        if self.beats_on_validation is None:
            return "One-class baseline: validation has pixels of fewer than two classes."
        if not self.beats_on_validation and self.beats_on_train is None:
            return "One-class baseline: the compared training images have pixels of fewer than two classes."
        return ""


def check_one_class(
    val_scores: Scores, val_baseline: OneClassBaseline, train_scores: Scores, train_baseline: OneClassBaseline
) -> OneClassCheck:
    """Compare the scores of a run on validation and on the compared training images with the baselines there."""
    numbers = (
        val_baseline.describe_scores(val_scores, "on validation"),
        train_baseline.describe_scores(train_scores, "on the compared training images"),
    )
    phrase = f"{ONE_CLASS_LABEL} ({val_baseline.predicted_class.name}; its IoU in brackets): {'; '.join(numbers)}"
    return OneClassCheck(val_baseline.is_beaten_by(val_scores), train_baseline.is_beaten_by(train_scores), phrase)
