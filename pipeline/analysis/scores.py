"""Accuracy and intersection over union out of confusion tables."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pipeline.runs import Scores, SegmentationClass


def iou_by_class(confusion: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Intersection over union (Jaccard index) of each class; NaN where neither truth nor prediction has the class.

    Args:
        confusion: ... x C x C, pixels by truth (rows) and prediction (columns).

    Returns:
        ... x C, 0 to 1.
    """
    hits = np.diagonal(confusion, axis1=-2, axis2=-1)
    union = confusion.sum(axis=-1) + confusion.sum(axis=-2) - hits
    with np.errstate(invalid="ignore"):
        return np.asarray(hits / np.where(union == 0, np.nan, union), dtype=np.float64)


def mean_iou(confusion: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Mean over the classes that are present in the truth (... x C x C to ...)."""
    present = confusion.sum(axis=-1) > 0
    total = np.where(present, np.nan_to_num(iou_by_class(confusion)), 0).sum(axis=-1)
    return np.asarray(total / np.maximum(present.sum(axis=-1), 1), dtype=np.float64)


def foreground_iou(confusion: npt.NDArray[np.int64], foreground: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """Intersection over union of the foreground classes as one (... x C x C to ...); NaN where there is none."""
    hits = confusion[..., foreground, :][..., :, foreground].sum(axis=(-2, -1))
    union = confusion[..., foreground, :].sum(axis=(-2, -1)) + confusion[..., :, foreground].sum(axis=(-2, -1)) - hits
    with np.errstate(invalid="ignore"):
        return np.asarray(hits / np.where(union == 0, np.nan, union), dtype=np.float64)


def accuracy(confusion: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Share of the pixels that are right (... x C x C to ...)."""
    hits = np.diagonal(confusion, axis1=-2, axis2=-1).sum(axis=-1)
    return np.asarray(hits / np.maximum(confusion.sum(axis=(-2, -1)), 1), dtype=np.float64)


def score(loss: float, confusion: npt.NDArray[np.int64], classes: tuple[SegmentationClass, ...]) -> Scores:
    """All scores of a set from its summed confusion table (C x C) and its yardstick (nats a pixel)."""
    present = confusion.sum(axis=-1) > 0
    values = np.nan_to_num(iou_by_class(confusion))
    foreground = np.array([item.foreground for item in classes])
    return Scores(
        loss=loss,
        accuracy=float(accuracy(confusion)),
        mean_iou=float(mean_iou(confusion)),
        foreground_iou=float(np.nan_to_num(foreground_iou(confusion, foreground))),
        iou={
            item.name: float(value) if there else None
            for item, value, there in zip(classes, values, present, strict=True)
        },
    )


def baseline(
    train_shares: npt.NDArray[np.float64], shares: npt.NDArray[np.float64], classes: tuple[SegmentationClass, ...]
) -> Scores:
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
    confusion[:, int(np.argmax(train_shares))] = pixels
    return score(loss, confusion, classes)
