"""Masks that are pictures beside the images: of class values, or of objects that are numbered."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipeline.data.instances import instance_classes
from pipeline.data.pictures import Resize, fit_mask, frame_mask, read_mask, resize_mask
from pipeline.data.values import MaskValues
from pipeline.prepare.files import content_of
from pipeline.prepare.pairs import Pair, UndeclaredError
from pipeline.runs import IGNORE

if TYPE_CHECKING:
    from pipeline.params.fields import MaskValue


class _Files:
    """What all masks that are files have in common."""

    def name(self, pair: Pair) -> str:
        """The mask's file."""
        return pair.truth

    def content(self, folder: Path, truth: str) -> bytes:
        """The file's content."""
        return content_of(folder / truth)


@dataclass(frozen=True)
class ValueMasks(_Files):
    """Masks whose values stand for classes."""

    values: tuple[MaskValue, ...]  # of the classes, in the order of their indices
    ignore: MaskValue | None

    def fitted(self, content: bytes, size: int, resize: Resize) -> tuple[NDArray[np.uint8], int, int]:
        """A mask of class indices; raises `PictureError`, and `UndeclaredError` for other values."""
        values = _values(self)
        mask = read_mask(content, colours=values.are_colours)
        if not values.cover(mask):
            raise UndeclaredError(values.unknown(mask))
        indices = values.indices(resize_mask(mask, size, resize))  # of the few pixels that are left
        return frame_mask(indices, size, outside=IGNORE), *mask.shape


@dataclass(frozen=True)
class InstanceMasks(_Files):
    """Masks that number objects from 1 on, over a background of 0; the classes are background, inside and border."""

    border: int  # px
    order: tuple[int, int, int]  # the class indices of background, inside and border

    def fitted(self, content: bytes, size: int, resize: Resize) -> tuple[NDArray[np.uint8], int, int]:
        """A mask of class indices, whose borders are found at its own size; raises `PictureError`."""
        classes = instance_classes(read_mask(content, colours=False), self.border)
        mask = np.array(self.order, np.uint8).take(classes)
        return fit_mask(mask, size, resize, outside=IGNORE), *mask.shape


@lru_cache(maxsize=4)
def _values(masks: ValueMasks) -> MaskValues:
    return MaskValues.of(masks.values, masks.ignore)
