"""Accuracy and intersection over union out of confusion tables."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from pipeline.runs import Scores, SegmentationClass

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


def iou_by_class(confusion: Integers) -> Floats:
    """Intersection over union (Jaccard index) of each class; NaN where neither truth nor prediction has the class.

    Args:
        confusion: ... x C x C, pixels by truth (rows) and prediction (columns).

    Returns:
        ... x C, 0 to 1.
    """
    hits = np.diagonal(confusion, axis1=-2, axis2=-1)
    return _ratio(hits, confusion.sum(axis=-1) + confusion.sum(axis=-2) - hits)


def mean_iou(confusion: Integers) -> Floats:
    """Average IoU over the classes present in the truth (... x C x C to ...); NaN without evaluated pixels."""
    present = confusion.sum(axis=-1) > 0
    return _ratio(np.where(present, iou_by_class(confusion), 0).sum(axis=-1), present.sum(axis=-1))


def foreground_iou(confusion: Integers, foreground: npt.NDArray[np.bool_]) -> Floats:
    """Compute intersection over union of several classes as one (... x C x C to ...).

    NaN where neither truth nor prediction has any of them, and if these are all classes: any prediction would have 1.
    0 where only the prediction has some.

    Args:
        confusion: ... x C x C, pixels by truth (rows) and prediction (columns).
        foreground: C, whether a class is one of them.
    """
    if foreground.all():
        return np.full(confusion.shape[:-2], np.nan)
    hits = confusion[..., foreground, :][..., :, foreground].sum(axis=(-2, -1))
    union = confusion[..., foreground, :].sum(axis=(-2, -1)) + confusion[..., :, foreground].sum(axis=(-2, -1)) - hits
    return _ratio(hits, union)


def name_foreground_iou(foreground: Sequence[str]) -> str:
    """Return the name of `Scores.foreground_iou` in a sentence, given the names of the foreground classes."""
    return f"IoU of {foreground[0]}" if len(foreground) == 1 else "foreground IoU"


def name_object_iou(foreground: Sequence[str], boundary: Sequence[str]) -> str:
    """Return the name of `Scores.object_iou` in a sentence, given the names of the classes."""
    objects = foreground[0] if len(foreground) == 1 else "the foreground"
    return f"IoU of {objects} with {' and '.join(boundary)}"


def accuracy(confusion: Integers) -> Floats:
    """Compute the share of correct evaluated pixels (... x C x C to ...); NaN without evaluated pixels."""
    hits = np.diagonal(confusion, axis1=-2, axis2=-1).sum(axis=-1)
    return _ratio(hits, confusion.sum(axis=(-2, -1)))


def score(loss: float, confusion: Integers, classes: tuple[SegmentationClass, ...]) -> Scores:
    """Compute all scores of a set from its summed confusion table (C x C) and its loss (nats per pixel).

    The loss of a set without evaluated pixels is ignored: none of its scores is defined.
    """
    present = confusion.sum(axis=-1) > 0
    foreground = np.array([item.foreground for item in classes])
    boundary = np.array([item.edge for item in classes])
    predicted = _ratio(confusion.sum(axis=-2), confusion.sum())
    return Scores(
        loss=loss if present.any() else None,
        accuracy=_defined(accuracy(confusion)),
        mean_iou=_defined(mean_iou(confusion)),
        foreground_iou=_defined(foreground_iou(confusion, foreground)),
        object_iou=_defined(foreground_iou(confusion, foreground | boundary)) if boundary.any() else None,
        iou={
            item.name: float(value) if is_present else None
            for item, value, is_present in zip(classes, iou_by_class(confusion), present, strict=True)
        },
        predicted={item.name: _defined(share) for item, share in zip(classes, predicted, strict=True)},
    )


def _ratio(part: npt.NDArray[np.generic], whole: Integers) -> Floats:
    """Divide; NaN where `whole` is 0."""
    return np.asarray(part / np.where(whole == 0, np.nan, whole), dtype=np.float64)


def _defined(value: Floats) -> float | None:
    return None if np.isnan(value) else float(value)


def most_frequent(shares: Floats) -> int:
    """Return the index of the class with the most pixels, the first of several."""
    return int(np.argmax(shares))


def baseline(train_shares: Floats, shares: Floats, classes: tuple[SegmentationClass, ...]) -> Scores:
    """What knowing the classes' shares in training, and nothing of the image, scores on a set.

    The loss is the cross entropy of the training shares under the set's own; the mask is all the most frequent class.

    Args:
        train_shares: C shares of the pixels in training; a class missing there counts as one pixel in a million.
        shares: C shares of the pixels of the set.
        classes: C of them.
    """
    loss = float(-(shares * np.log(np.maximum(train_shares, 1e-6))).sum())
    pixels = np.round(shares * 1e9).astype(np.int64)
    confusion = np.zeros((len(classes), len(classes)), dtype=np.int64)
    confusion[:, most_frequent(train_shares)] = pixels
    return score(loss, confusion, classes)
