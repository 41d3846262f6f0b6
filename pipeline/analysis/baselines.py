"""Baselines that ignore the image: the class-prior baseline, and predicting one class everywhere.

The loss alone does not show whether a run beats the second baseline. A network that predicts only background can have a
lower loss than the class-prior baseline, because it may be less confident where foreground is likely without ever
predicting it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from pipeline.analysis.scores import Floats, compute_scores, name_foreground_iou
from pipeline.artifacts.prepared_data import SegmentationClass
from pipeline.artifacts.scores import Scores

MIN_CLASS_SHARE = 1e-6  # assumed for a class without training pixels, so that its loss is finite
MIN_IOU_GAIN = 0.01  # a smaller gain in IoU over the baseline counts as noise
MIN_TOTAL_GAIN = 2 * MIN_IOU_GAIN  # gain in IoU summed over the classes, so that learning a few of 150 classes counts
ONE_CLASS_LABEL = "no better than predicting one class everywhere"

FallbackVerdict = Literal["underfitting", "memorizing", "undecided"]


def compute_class_prior_baseline(
    train_shares: Floats, shares: Floats, classes: tuple[SegmentationClass, ...]
) -> Scores:
    """Compute the scores of predicting the training class shares for every pixel.

    The loss is the cross-entropy between the class shares of the evaluated set and those of the training set. The
    predicted mask has the most frequent training class everywhere.

    Args:
        train_shares: share of each of the C classes in the training pixels, 0 to 1.
        shares: share of each class in the pixels of the evaluated set, 0 to 1.
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
    """List mean IoU and foreground IoU, each with its name, value and baseline.

    Scores with an undefined value or baseline are left out. `foreground` has the names of the foreground classes.
    """
    pairs = (
        ("mean IoU", mean_iou, baseline.mean_iou),
        (name_foreground_iou(foreground), foreground_iou, baseline.foreground_iou),
    )
    return [(name, value, base) for name, value, base in pairs if value is not None and base is not None]


@dataclass(frozen=True)
class OneClassBaseline:
    """Baseline that predicts the most frequent training class for every pixel of a set of images."""

    scores: Scores  # scores of this prediction on the set
    predicted_class: SegmentationClass  # the most frequent training class
    classes: tuple[SegmentationClass, ...]  # all classes of the dataset

    @classmethod
    def from_shares(
        cls, train_shares: Floats, shares: Floats, classes: tuple[SegmentationClass, ...]
    ) -> OneClassBaseline:
        """Create the baseline for a set of images; for the arguments, see `compute_class_prior_baseline`."""
        scores = compute_class_prior_baseline(train_shares, shares, classes)
        return cls(scores, classes[np.argmax(train_shares)], classes)

    def is_beaten_by(self, scores: Scores) -> bool | None:
        """Return whether a run's scores on the same set are better; None if the set has fewer than two classes.

        The run's sum of class IoUs must exceed the baseline's by more than `MIN_TOTAL_GAIN`. If the baseline's class is
        not foreground and the set has foreground, the run's foreground IoU must also exceed `MIN_IOU_GAIN`.
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
        """Format a run's scores as in `on validation mean IoU 0.512 (0.333)`, with the baseline in parentheses."""
        foreground = [item.name for item in self.classes if item.foreground]
        pairs = pair_with_baseline(scores.mean_iou, scores.foreground_iou, self.scores, foreground)
        return f"{where} {', '.join(f'{name} {value:.3f} ({baseline:.3f})' for name, value, baseline in pairs)}"


@dataclass(frozen=True)
class OneClassCheck:
    """Comparison of a run with the one-class baseline, on the validation and the compared training images."""

    beats_on_validation: bool | None  # None if the comparison is not possible
    beats_on_train: bool | None  # on the compared training images; None if the comparison is not possible
    phrase: str  # `ONE_CLASS_LABEL` with the scores on both sets

    @property
    def fallback_verdict(self) -> FallbackVerdict | None:
        """Verdict on a run whose loss curves alone suggest learning; None if the run beats the baseline."""
        if self.beats_on_validation is not False:
            return None
        if self.beats_on_train is None:
            return "undecided"
        return "memorizing" if self.beats_on_train else "underfitting"

    @property
    def not_checked(self) -> str:
        """Reason why the check was not possible or the verdict is undecided; empty otherwise."""
        if self.beats_on_validation is None:
            return "One-class baseline: validation has pixels of fewer than two classes."
        if not self.beats_on_validation and self.beats_on_train is None:
            return "One-class baseline: the compared training images have pixels of fewer than two classes."
        return ""


def check_one_class(
    val_scores: Scores, val_baseline: OneClassBaseline, train_scores: Scores, train_baseline: OneClassBaseline
) -> OneClassCheck:
    """Compare a run with the one-class baseline, on the validation and the compared training images."""
    numbers = (
        val_baseline.describe_scores(val_scores, "on validation"),
        train_baseline.describe_scores(train_scores, "on the compared training images"),
    )
    phrase = f"{ONE_CLASS_LABEL} ({val_baseline.predicted_class.name}; its IoU in parentheses): {'; '.join(numbers)}"
    return OneClassCheck(val_baseline.is_beaten_by(val_scores), train_baseline.is_beaten_by(train_scores), phrase)
