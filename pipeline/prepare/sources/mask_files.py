"""Masks that are pictures beside the images: of class values, or of objects that are numbered."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipeline.imaging.instances import classify_instances
from pipeline.imaging.mask_decoding import MAX_NUMBER, DecodedMask, Values, decode_mask, keep_background, orient_mask
from pipeline.imaging.mask_encoding import MaskEncoding
from pipeline.imaging.metadata import UPRIGHT
from pipeline.imaging.resize import Resize, fit_mask, pad_mask, resize_mask
from pipeline.prepare.files import content_of
from pipeline.prepare.pairs import FittedMask, Pair, UndeclaredError
from pipeline.runs import IGNORE

if TYPE_CHECKING:
    from pipeline.params.data.fields import MaskValue


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

    values: tuple[tuple[MaskValue, ...], ...]  # of each class, in the order of their indices
    ignored: tuple[MaskValue, ...] = ()
    threshold: int | None = None  # of soft masks

    def class_indices(self, content: bytes) -> NDArray[np.uint8]:
        """Decode a mask at its own size; raises `ImageError`, and `UndeclaredError` for other values."""
        return _values(self).to_indices(self._decode(content).values)

    def fitted(self, content: bytes, size: int, resize: Resize, orientation: int = UPRIGHT) -> FittedMask:
        """Decode and fit a mask; raises `ImageError`, and `UndeclaredError` for other values."""
        mask = self._decode(content)
        values = mask.values if mask.has_orientation else orient_mask(mask.values, orientation)
        indices = _values(self).to_indices(resize_mask(values, size, resize))  # of the few pixels that are left
        classes = pad_mask(indices, size, outside=IGNORE)
        palette = () if self.threshold is not None else mask.palette
        height, width = values.shape
        return FittedMask(classes, height, width, mask.has_orientation, palette)

    def _decode(self, content: bytes) -> DecodedMask:
        values = _values(self)
        mask = decode_mask(content, colors=values.are_colors)
        if not values.covers(mask.values):
            raise UndeclaredError(values.count_unknown(mask.values))
        return mask


@dataclass(frozen=True)
class InstanceMasks(_Files):
    """Masks that number objects from 1 on, over a background of 0; the classes are background, inside and border."""

    border: int  # px
    order: tuple[int, int, int]  # the class indices of background, inside and border

    def class_indices(self, content: bytes) -> NDArray[np.uint8]:
        """Decode a mask at its own size; raises `ImageError`."""
        return self._classes(decode_mask(content, colors=False, max_value=MAX_NUMBER).values)

    def fitted(self, content: bytes, size: int, resize: Resize, orientation: int = UPRIGHT) -> FittedMask:
        """Decode and fit a mask, whose borders are found at its own size; raises `ImageError`."""
        mask = decode_mask(content, colors=False, max_value=MAX_NUMBER)
        values = mask.values if mask.has_orientation else orient_mask(mask.values, orientation)
        classes = fit_mask(self._classes(values), size, resize, outside=IGNORE)
        height, width = values.shape
        return FittedMask(classes, height, width, mask.has_orientation, keep_background(mask.palette))

    def _classes(self, values: Values) -> NDArray[np.uint8]:
        return np.array(self.order, np.uint8).take(classify_instances(values, self.border))


@lru_cache(maxsize=4)
def _values(masks: ValueMasks) -> MaskEncoding:
    return MaskEncoding.from_values(masks.values, masks.ignored, masks.threshold)
