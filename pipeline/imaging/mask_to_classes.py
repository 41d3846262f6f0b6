"""Map the values or colors of masks to classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from . import IGNORE

MaskValue = int | str  # a number, or a color as #rrggbb


@dataclass(frozen=True, eq=False)
class MaskEncoding:
    """Mapping from mask values to classes."""

    values: NDArray[np.int32]  # mask values, in ascending order
    classes: NDArray[np.uint8]  # class index, or IGNORE, of each value
    output_values: NDArray[np.int32]  # value of each class in new masks, which is its first declared value
    are_colors: bool  # whether values are colors, 0xRRGGBB
    # Threshold for soft masks of two classes: lower values belong to the class with the lower value, all others to the
    # other class. None if masks contain only the declared values.
    threshold: int | None = None

    @classmethod
    def from_values(
        cls, class_values: Sequence[Sequence[MaskValue]], ignored: Sequence[MaskValue], threshold: int | None = None
    ) -> MaskEncoding:
        """Create an encoding from the mask values of each class, in the order of the classes, and of ignored pixels."""
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
        """Return whether each pixel of a mask has a class. With a threshold, every value has one."""
        if self.threshold is not None:
            return True
        # For 8-bit masks, listing the distinct values with Pillow first is several times as fast.
        values = np.flatnonzero(Image.fromarray(mask).histogram()) if mask.dtype == np.uint8 else mask
        return bool(np.isin(values, self.values).all())

    def find_faint_value(self, mask: NDArray[np.integer[Any]]) -> int | None:
        """Find the highest value of a mask that has values above the lowest class value, but none at the threshold."""
        highest = int(mask.max())
        is_faint = self.threshold is not None and self.values[0] < highest < self.threshold
        return highest if is_faint else None

    def to_indices(self, mask: NDArray[np.integer[Any]]) -> NDArray[np.uint8]:
        """Convert a mask (H x W) to class indices and IGNORE. This encoding must cover the mask."""
        if self.threshold is not None:
            return self.classes.take(mask >= self.threshold)
        return self.classes.take(np.searchsorted(self.values, mask)) if self.are_colors else self._table.take(mask)

    @cached_property
    def _table(self) -> NDArray[np.uint8]:
        """Class index of each value up to the largest one. Unused for colors, since the table would be large."""
        table = np.zeros(self.values[-1] + 1, np.uint8)
        table[self.values] = self.classes
        return table

    @cached_property
    def nodata_value(self) -> int | None:
        """Value, or color, of pixels without data in new masks: that of ignored pixels, or else one without a class.

        It fits into 8 bits if the values of the classes do. None if all such values have a class.
        """
        highest = 0xFFFFFF if self.are_colors else 255 if self.output_values.max() <= 255 else 65_535
        ignored = [value for value in self.values[self.classes == IGNORE].tolist() if value <= highest]
        taken = set(self.values.tolist())
        first = (0,) if self.are_colors else (highest, 0)
        return next(chain(ignored, (value for value in (*first, *range(highest + 1)) if value not in taken)), None)

    def count_unknown(self, mask: NDArray[np.integer[Any]]) -> dict[str, int]:
        """Count the pixels of each mask value without a class. Values are formatted as in `params.yaml`."""
        values, pixels = np.unique(mask[~np.isin(mask, self.values)], return_counts=True)
        return dict(zip(map(self._format, values), pixels.tolist(), strict=True))

    def list_values(self) -> str:
        """Format the expected mask values as a comma-separated list."""
        return ", ".join(map(self._format, self.values))

    def _format(self, value: np.int32) -> str:
        return f"#{value:06x}" if self.are_colors else str(value)


def _parse_value(value: MaskValue) -> int:
    return int(value[1:], 16) if isinstance(value, str) else value
