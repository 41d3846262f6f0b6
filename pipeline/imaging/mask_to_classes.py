"""Map the values or colors of masks to classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from . import IGNORE

MaskValue = int | str  # a number, or a color as #rrggbb


@dataclass(frozen=True, eq=False)
class MaskEncoding:
    """The class of each value that a mask's pixels may have."""

    values: NDArray[np.int32]  # allowed in masks, ascending
    classes: NDArray[np.uint8]  # class index, or IGNORE, of each value
    output_values: NDArray[np.int32]  # of each class in a new mask: the first that is declared
    are_colors: bool  # 0xRRGGBB
    # Of soft masks of two classes: lower values are the class of the lower value, all others the other class.
    threshold: int | None = None  # None: values are exact

    @classmethod
    def from_values(
        cls, class_values: Sequence[Sequence[MaskValue]], ignored: Sequence[MaskValue], threshold: int | None = None
    ) -> MaskEncoding:
        """Create an encoding from the values of each class, in the order of the classes, and of ignored pixels."""
        declared = [(value, index) for index, values in enumerate(class_values) for value in values]
        declared += [(value, IGNORE) for value in ignored]
        ordered = sorted((_parse_value(value), index) for value, index in declared)
        values, indices = zip(*ordered, strict=True)
        return cls(
            values=np.array(values, np.int32),
            classes=np.array(indices, np.uint8),
            output_values=np.array([_parse_value(values[0]) for values in class_values], np.int32),
            are_colors=isinstance(class_values[0][0], str),
            threshold=threshold,
        )

    def covers(self, mask: NDArray[np.integer[Any]]) -> bool:
        """Return whether each pixel of a mask has one of these values, or any value if there is a threshold."""
        if self.threshold is not None:
            return True
        # The values of 8 bits are listed first, by Pillow, which is several times as fast.
        values = np.flatnonzero(Image.fromarray(mask).histogram()) if mask.dtype == np.uint8 else mask
        return bool(np.isin(values, self.values).all())

    def to_indices(self, mask: NDArray[np.integer[Any]]) -> NDArray[np.uint8]:
        """Look up the class index, or IGNORE, of each pixel of a mask that this encoding `covers`."""
        if self.threshold is not None:
            return self.classes.take(mask >= self.threshold)
        return self.classes.take(np.searchsorted(self.values, mask)) if self.are_colors else self._table.take(mask)

    @cached_property
    def _table(self) -> NDArray[np.uint8]:
        """The class index of each value up to the largest one; a table of colors would be large."""
        table = np.zeros(self.values[-1] + 1, np.uint8)
        table[self.values] = self.classes
        return table

    def count_unknown(self, mask: NDArray[np.integer[Any]]) -> dict[str, int]:
        """Count the pixels of each value without a class; values are formatted as in `params.yaml`."""
        values, pixels = np.unique(mask[~np.isin(mask, self.values)], return_counts=True)
        return dict(zip(map(self._format, values), pixels.tolist(), strict=True))

    def list_values(self) -> str:
        """List the expected values in a sentence."""
        return ", ".join(map(self._format, self.values))

    def _format(self, value: np.int32) -> str:
        return f"#{value:06x}" if self.are_colors else str(value)


def _parse_value(value: MaskValue) -> int:
    return int(value[1:], 16) if isinstance(value, str) else value
