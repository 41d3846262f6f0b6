"""What the values of a mask stand for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipeline.runs import IGNORE

if TYPE_CHECKING:  # the parameters take longer to import than processes that decode take to begin otherwise
    from pipeline.params.data import Data
    from pipeline.params.data.fields import MaskValue


@dataclass(frozen=True, eq=False)
class MaskValues:
    """The meaning of the values of a mask's pixels.

    Attributes:
        values: that masks may hold, ascending.
        classes: the class index, or IGNORE, of each of them.
        written: the value that a class has in a new mask: the first that is declared.
        are_colours: whether values are colors, 0xRRGGBB.
        threshold: of soft masks of two classes: lower values count as the lower one, the others as the higher one; None
            where values are exact.
    """

    values: NDArray[np.int32]
    classes: NDArray[np.uint8]
    written: NDArray[np.int32]
    are_colours: bool
    threshold: int | None = None

    @classmethod
    def of(
        cls,
        values_of_classes: Sequence[Sequence[MaskValue]],
        ignored: Sequence[MaskValue],
        threshold: int | None = None,
    ) -> MaskValues:
        """Collect the values of each class, in the order of the classes, and those of ignored pixels."""
        declared = [(value, index) for index, values in enumerate(values_of_classes) for value in values]
        declared += [(value, IGNORE) for value in ignored]
        ordered = sorted((_number(value), index) for value, index in declared)
        values, indices = zip(*ordered, strict=True)
        return cls(
            values=np.array(values, np.int32),
            classes=np.array(indices, np.uint8),
            written=np.array([_number(values[0]) for values in values_of_classes], np.int32),
            are_colours=isinstance(values_of_classes[0][0], str),
            threshold=threshold,
        )

    @classmethod
    def of_data(cls, data: Data, names: Sequence[str]) -> MaskValues:
        """Those of the masks that a user has; where a source has no masks of classes, the classes' indices."""
        from pipeline.params.data.composites import CompositesData
        from pipeline.params.data.fields import list_values
        from pipeline.params.data.image_data import ExternalTestFolder, FolderData, OxfordPetsData

        folder = data.test if isinstance(data, CompositesData) else data
        if isinstance(folder, ExternalTestFolder) or (isinstance(folder, FolderData) and not folder.instances):
            by_name = {item.name: list_values(item.value) for item in folder.classes}
            return cls.of([by_name[name] for name in names], list_values(folder.ignore), folder.mask_threshold)
        first = 1 if isinstance(data, OxfordPetsData) else 0  # its trimaps count from 1
        return cls.of([(first + index,) for index in range(len(names))], (IGNORE,))

    def cover(self, mask: NDArray[np.integer[Any]]) -> bool:
        """Return whether each pixel of a mask has one of these values, or any value if there is a threshold."""
        if self.threshold is not None:
            return True
        low, high = int(mask.min()), int(mask.max())
        first, end = np.searchsorted(self.values, (low, high + 1))
        if end - first == high - low + 1:  # as they are in most masks, values without a gap
            return True
        if mask.dtype == np.uint8:
            return not mask.tobytes().translate(None, delete=self._bytes)  # twice as fast as arrays would be
        return bool((self.values[self._places(mask)] == mask).all())

    def indices(self, mask: NDArray[np.integer[Any]]) -> NDArray[np.uint8]:
        """Look up the class index, or IGNORE, of each pixel of a mask that these values `cover`."""
        if self.threshold is not None:
            return self.classes.take(mask >= self.threshold)
        return self.classes.take(self._places(mask)) if self.are_colours else self._table.take(mask)

    def _places(self, mask: NDArray[np.integer[Any]]) -> NDArray[np.intp]:
        """Where the value of each pixel stands among these; the last place for values above all of them."""
        return np.searchsorted(self.values, mask).clip(max=len(self.values) - 1)

    @cached_property
    def _table(self) -> NDArray[np.uint8]:
        """The class index of each value up to the largest one; a table of colours would be large."""
        table = np.zeros(self.values[-1] + 1, np.uint8)
        table[self.values] = self.classes
        return table

    @cached_property
    def _bytes(self) -> bytes:
        """Those of the values that a byte can have."""
        return bytes(self.values[self.values < 256].tolist())

    def unknown(self, mask: NDArray[np.integer[Any]]) -> dict[str, int]:
        """The values that stand for nothing, as `params.yaml` would spell them, and how many pixels have each."""
        values, pixels = np.unique(mask[~np.isin(mask, self.values)], return_counts=True)
        return dict(zip(map(self._spelt, values), pixels.tolist(), strict=True))

    def listed(self) -> str:
        """The values that are expected."""
        return ", ".join(map(self._spelt, self.values))

    def _spelt(self, value: np.int32) -> str:
        return f"#{value:06x}" if self.are_colours else str(value)


def _number(value: MaskValue) -> int:
    return int(value[1:], 16) if isinstance(value, str) else value
