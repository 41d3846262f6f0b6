"""Breakdown of a run's gap by class, image group and image. Losses are in nats per pixel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from pipeline.artifacts.prepared_data import list_groups

MAX_PARTS = 10  # maximum number of groups of each kind, and of images; each run's per-image table has all images


@dataclass(frozen=True)
class GapPart:
    """Gap of a single class, image group or image of the validation split."""

    part: str  # class, group or image
    name: str  # name of the class, ID of the image, or `kind=name` for a group
    images: int  # number of validation images in the part
    train_loss: float  # training loss of the same class; for a group or an image, that of all compared training images
    val_loss: float  # validation loss of the part
    train_iou: float | None = None  # IoU of the class on training images; None for other parts
    val_iou: float | None = None  # IoU of the class on validation; None for other parts

    @property
    def gap(self) -> float:
        """Validation minus training loss."""
        return self.val_loss - self.train_loss


def break_down_by_class(
    train: pd.DataFrame,
    validation: pd.DataFrame,
    train_iou: Mapping[str, float | None],
    val_iou: Mapping[str, float | None],
) -> list[GapPart]:
    """Compute the gap of each class that occurs in both training and validation images, in the order of the classes.

    Args:
        train: one row per image, with two columns per class: `loss_<class>` is the mean loss over the pixels whose
            ground truth is the class, `pixels_<class>` the number of these pixels.
        validation: one row per image, with the same columns.
        train_iou: IoU by class; its keys are the classes.
        val_iou: IoU by class.
    """
    return [
        GapPart(
            "class",
            name,
            int((validation[f"pixels_{name}"] > 0).sum()),
            _average(train[f"loss_{name}"], train[f"pixels_{name}"]),
            _average(validation[f"loss_{name}"], validation[f"pixels_{name}"]),
            train_iou[name],
            val_iou[name],
        )
        for name in train_iou
        if (train[f"pixels_{name}"] > 0).any() and (validation[f"pixels_{name}"] > 0).any()
    ]


def break_down_by_group(train: pd.DataFrame, validation: pd.DataFrame) -> list[GapPart]:
    """Compute the gap of each group, and return the widest gaps of each kind of group, widest first.

    Args:
        train: one row per image, with its `loss` and its number of evaluated `pixels`.
        validation: one row per image, with the same columns and `groups`, as `kind=name;kind=name`.
    """
    train_loss = _average(train["loss"], train["pixels"])
    rows = validation[["loss", "pixels"]].join(list_groups(validation["groups"]), how="inner")
    widest = []
    for kind, rows_of_kind in rows.groupby("factor"):
        if rows_of_kind["name"].is_unique:  # with one image per group, the breakdown by image has the same gaps
            continue
        parts = [
            GapPart("group", f"{kind}={name}", len(group), train_loss, _average(group["loss"], group["pixels"]))
            for name, group in rows_of_kind.groupby("name")
        ]
        widest += _select_widest(parts)
    return widest


def break_down_by_image(train: pd.DataFrame, validation: pd.DataFrame) -> list[GapPart]:
    """Compute the gap of each validation image, and return the widest gaps, widest first.

    Args:
        train: one row per image, with its `loss` and its number of evaluated `pixels`.
        validation: one row per image, with its `id` and its `loss`.
    """
    train_loss = _average(train["loss"], train["pixels"])
    rows = zip(validation["id"], validation["loss"], strict=True)
    return _select_widest([GapPart("image", str(sample), 1, train_loss, float(loss)) for sample, loss in rows])


def _select_widest(parts: Sequence[GapPart]) -> list[GapPart]:
    return sorted(parts, key=lambda part: (-part.gap, part.name))[:MAX_PARTS]


def _average(losses: pd.Series[float], pixels: pd.Series[int]) -> float:
    """Average the losses of images, weighted by their numbers of pixels; images without pixels have no loss."""
    evaluated = pixels.to_numpy() > 0
    return float(np.average(losses.to_numpy(np.float64)[evaluated], weights=pixels.to_numpy()[evaluated]))
