"""A run's gap taken apart: by class, by group of images, and by image. All losses are the yardstick, nats a pixel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

WIDEST = 10  # of the groups of a kind, and of the images: the rest is in each run's table of images


@dataclass(frozen=True)
class GapPart:
    """A part of validation beside what it is compared with on the training side.

    Attributes:
        part: class, group or image.
        name: of the class or the image; of a group `kind=name`.
        images: how many of validation's it is about.
        train_loss: of the same class; for a group or an image, which training has none of, that of the whole side.
        val_loss: of the part.
        train_iou: of the class; None for other parts.
        val_iou: likewise.
    """

    part: str
    name: str
    images: int
    train_loss: float
    val_loss: float
    train_iou: float | None = None
    val_iou: float | None = None

    @property
    def gap(self) -> float:
        """Validation minus training."""
        return self.val_loss - self.train_loss


def by_class(
    train: pd.DataFrame,
    validation: pd.DataFrame,
    train_iou: Mapping[str, float | None],
    val_iou: Mapping[str, float | None],
) -> list[GapPart]:
    """A part a class that both sides have, in the classes' order.

    Args:
        train: a row an image; of each class `loss_<class>` is the mean over the image's pixels of that true class, and
            `pixels_<class>` counts them.
        validation: likewise.
        train_iou: intersection over union by class; its keys are the classes.
        val_iou: likewise.
    """
    return [
        GapPart(
            "class",
            name,
            int((validation[f"pixels_{name}"] > 0).sum()),
            _mean(train[f"loss_{name}"], train[f"pixels_{name}"]),
            _mean(validation[f"loss_{name}"], validation[f"pixels_{name}"]),
            train_iou[name],
            val_iou[name],
        )
        for name in train_iou
        if (train[f"pixels_{name}"] > 0).any() and (validation[f"pixels_{name}"] > 0).any()
    ]


def by_group(train: pd.DataFrame, validation: pd.DataFrame) -> list[GapPart]:
    """The groups of each kind whose gaps are widest, widest first; an image that shares nothing is no group.

    Args:
        train: a row an image, with `loss` and the number of its `pixels`.
        validation: likewise, and its `groups` as `kind=name;kind=name`.
    """
    reference = _mean(train["loss"], train["pixels"])
    names = validation["groups"].fillna("").str.split(";").explode()
    rows = validation[["loss", "pixels"]].join(names[names.str.contains("=")], how="inner")
    rows["kind"] = rows["groups"].str.split("=", n=1).str[0]
    found = []
    for _, of_kind in rows.groupby("kind"):
        if of_kind["groups"].is_unique:  # each image a group of its own: they stand among the images
            continue
        parts = [
            GapPart("group", str(name), len(group), reference, _mean(group["loss"], group["pixels"]))
            for name, group in of_kind.groupby("groups")
        ]
        found += _widest(parts)
    return found


def by_image(train: pd.DataFrame, validation: pd.DataFrame) -> list[GapPart]:
    """The images of validation whose losses are highest, highest first; tables as for `by_group`, with an `id`."""
    reference = _mean(train["loss"], train["pixels"])
    rows = zip(validation["id"], validation["loss"], strict=True)
    return _widest([GapPart("image", str(sample), 1, reference, float(loss)) for sample, loss in rows])


def _widest(parts: Sequence[GapPart]) -> list[GapPart]:
    return sorted(parts, key=lambda part: (-part.gap, part.name))[:WIDEST]


def _mean(losses: pd.Series[float], pixels: pd.Series[int]) -> float:
    """Over pixels; an image without any has no loss."""
    counted = pixels.to_numpy() > 0
    return float(np.average(losses.to_numpy(np.float64)[counted], weights=pixels.to_numpy()[counted]))
