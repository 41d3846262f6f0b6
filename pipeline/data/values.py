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
    from pipeline.params.fields import MaskValue

_UNKNOWN = 254  # an index that only the last of 255 classes has
VALUES = 65_536  # that a pixel of a grey mask may have


@dataclass(frozen=True, eq=False)
class MaskValues:
    """The values that masks may hold, ascending, and the class index, or IGNORE, of each."""

    values: NDArray[np.int32]
    classes: NDArray[np.uint8]
    are_colours: bool

    @classmethod
    def of(cls, values_of_classes: Sequence[MaskValue], ignore: MaskValue | None) -> MaskValues:
        """As a section of the parameters declares them, in the order of the classes; a colour counts as 0xRRGGBB."""
        declared = [(value, index) for index, value in enumerate(values_of_classes)]
        if ignore is not None:
            declared.append((ignore, IGNORE))
        ordered = sorted((int(value[1:], 16) if isinstance(value, str) else value, index) for value, index in declared)
        values, indices = zip(*ordered, strict=True)
        return cls(np.array(values, np.int32), np.array(indices, np.uint8), isinstance(values_of_classes[0], str))

    @classmethod
    def of_data(cls, data: Data, names: Sequence[str]) -> MaskValues:
        """Those of the masks that a user has; where a source has no masks of classes, the classes' indices."""
        from pipeline.params.composites import SampleData
        from pipeline.params.pictures import FolderData, FolderForTest, OxfordPetsData

        folder = data.test if isinstance(data, SampleData) else data
        if isinstance(folder, FolderForTest) or (isinstance(folder, FolderData) and not folder.instances):
            by_name = {item.name: item.value for item in folder.classes}
            return cls.of([by_name[name] for name in names], folder.ignore)
        first = 1 if isinstance(data, OxfordPetsData) else 0  # its trimaps count from 1
        return cls.of(range(first, first + len(names)), IGNORE)

    def indices(self, mask: NDArray[np.integer[Any]]) -> NDArray[np.uint8] | None:
        """The class index of each pixel; None where the mask holds a value that stands for nothing."""
        if mask.dtype == np.uint8 and not self.are_colours and _UNKNOWN not in self.classes:
            # Nearly all masks; bytes translate several times as fast as arrays.
            content = mask.tobytes().translate(self._translation)
            return None if _UNKNOWN in content else np.frombuffer(content, np.uint8).reshape(mask.shape)
        if self.are_colours:  # a table of all of them would be large
            place = np.searchsorted(self.values, mask).clip(max=len(self.values) - 1)
            return self.classes.take(place) if (self.values[place] == mask).all() else None
        found = self._table.take(mask)
        return None if found.min() < 0 else found.astype(np.uint8)

    @cached_property
    def _table(self) -> NDArray[np.int16]:
        """The class index of each value that a mask may hold; -1 of those that stand for nothing."""
        table = np.full(VALUES, -1, np.int16)
        table[self.values] = self.classes
        return table

    @cached_property
    def _translation(self) -> bytes:
        """The class index of each byte; _UNKNOWN of those that stand for nothing."""
        return np.where(self._table[:256] < 0, _UNKNOWN, self._table[:256]).astype(np.uint8).tobytes()

    def unknown(self, mask: NDArray[np.integer[Any]]) -> dict[str, int]:
        """The values that stand for nothing, as `params.yaml` would spell them, and how many pixels have each."""
        values, pixels = np.unique(mask[~np.isin(mask, self.values)], return_counts=True)
        return dict(zip(map(self._spelt, values), pixels.tolist(), strict=True))

    def listed(self) -> str:
        """The values that are expected."""
        return ", ".join(map(self._spelt, self.values))

    def _spelt(self, value: np.int32) -> str:
        return f"#{value:06x}" if self.are_colours else str(value)
