"""Accuracy and intersection over union (IoU, Jaccard index), computed from confusion matrices."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from pipeline.artifacts.prepared_data import SegmentationClass
from pipeline.artifacts.scores import Scores

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


def compute_class_iou(confusion: Integers) -> Floats:
    """Compute the IoU of each class (... x C, 0 to 1).

    The IoU is NaN for a class that occurs in neither ground truth nor prediction. `confusion` (... x C x C) has the
    number of pixels by ground truth (rows) and prediction (columns).
    """
    hits = np.diagonal(confusion, axis1=-2, axis2=-1)
    return _divide(hits, confusion.sum(axis=-1) + confusion.sum(axis=-2) - hits)


def compute_mean_iou(confusion: Integers) -> Floats:
    """Average the IoU over the classes in the ground truth (... x C x C to ...); NaN if no pixels are evaluated."""
    present = confusion.sum(axis=-1) > 0
    return _divide(np.where(present, compute_class_iou(confusion), 0).sum(axis=-1), present.sum(axis=-1))


def compute_foreground_iou(confusion: Integers, foreground: npt.NDArray[np.bool_]) -> Floats:
    """Compute the IoU of several classes merged into one.

    Args:
        confusion: ... x C x C, number of pixels by ground truth (rows) and prediction (columns).
        foreground: C booleans, True for the merged classes.

    Returns:
        IoU (...), 0 to 1; 0 if only the prediction has these classes. NaN if neither ground truth nor prediction has
        them, or if all classes are merged, because any prediction would score 1.
    """
    if foreground.all():
        return np.full(confusion.shape[:-2], np.nan)
    hits = confusion[..., foreground, :][..., :, foreground].sum(axis=(-2, -1))
    union = confusion[..., foreground, :].sum(axis=(-2, -1)) + confusion[..., :, foreground].sum(axis=(-2, -1)) - hits
    return _divide(hits, union)


def compute_accuracy(confusion: Integers) -> Floats:
    """Compute the share of correct pixels (... x C x C to ...); NaN if no pixels are evaluated."""
    hits = np.diagonal(confusion, axis1=-2, axis2=-1).sum(axis=-1)
    return _divide(hits, confusion.sum(axis=(-2, -1)))


def compute_scores(loss: float, confusion: Integers, classes: tuple[SegmentationClass, ...]) -> Scores:
    """Compute all scores for a set of images.

    Args:
        loss: nats per pixel; ignored if the set has no evaluated pixels, because then no score is defined.
        confusion: C x C, number of pixels of all images by ground truth (rows) and prediction (columns).
        classes: the C classes.
    """
    present = confusion.sum(axis=-1) > 0
    foreground = np.array([item.foreground for item in classes])
    boundary = np.array([item.is_boundary for item in classes])
    predicted = _divide(confusion.sum(axis=-2), confusion.sum())
    return Scores(
        loss=loss if present.any() else None,
        accuracy=_none_if_nan(compute_accuracy(confusion)),
        mean_iou=_none_if_nan(compute_mean_iou(confusion)),
        foreground_iou=_none_if_nan(compute_foreground_iou(confusion, foreground)),
        object_iou=_none_if_nan(compute_foreground_iou(confusion, foreground | boundary)) if boundary.any() else None,
        iou={
            item.name: float(value) if is_present else None
            for item, value, is_present in zip(classes, compute_class_iou(confusion), present, strict=True)
        },
        predicted={item.name: _none_if_nan(share) for item, share in zip(classes, predicted, strict=True)},
    )


def name_foreground_iou(foreground: Sequence[str]) -> str:
    """Return the display name of `Scores.foreground_iou`, given the names of the foreground classes."""
    return f"IoU of {foreground[0]}" if len(foreground) == 1 else "foreground IoU"


def name_object_iou(foreground: Sequence[str], boundary: Sequence[str]) -> str:
    """Return the display name of `Scores.object_iou`, given the names of the foreground and boundary classes."""
    objects = foreground[0] if len(foreground) == 1 else "the foreground"
    return f"IoU of {objects} with {' and '.join(boundary)}"


def _divide(part: npt.NDArray[np.generic], whole: Integers) -> Floats:
    """Divide elementwise; NaN where `whole` is 0."""
    return np.asarray(part / np.where(whole == 0, np.nan, whole), dtype=np.float64)


def _none_if_nan(value: Floats) -> float | None:
    return None if np.isnan(value) else float(value)
