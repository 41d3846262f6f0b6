"""What the values of a mask stand for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.params.data import ClassValue, FolderData, MaskValue, SampleData
from pipeline.runs import IGNORE


@dataclass(frozen=True, eq=False)
class MaskValues:
    """The values that masks may hold, ascending, and the class index, or IGNORE, of each."""

    values: NDArray[np.int32]
    classes: NDArray[np.uint8]
    are_colours: bool

    @classmethod
    def of(cls, classes: Sequence[ClassValue], ignore: MaskValue | None) -> MaskValues:
        """As a section of the parameters declares them; a colour counts as 0xRRGGBB."""
        declared = [(item.value, index) for index, item in enumerate(classes)]
        if ignore is not None:
            declared.append((ignore, IGNORE))
        ordered = sorted((int(value[1:], 16) if isinstance(value, str) else value, index) for value, index in declared)
        values, indices = zip(*ordered, strict=True)
        return cls(np.array(values, np.int32), np.array(indices, np.uint8), isinstance(classes[0].value, str))

    @classmethod
    def of_data(cls, data: SampleData | FolderData, names: Sequence[str]) -> MaskValues:
        """Those of the masks that a user has; of the bundled sample, which has none, the classes' indices."""
        folder = data if isinstance(data, FolderData) else data.test
        if folder is not None:
            by_name = {item.name: item for item in folder.classes}
            return cls.of([by_name[name] for name in names], folder.ignore)
        return cls.of([ClassValue(name=name, value=index) for index, name in enumerate(names)], IGNORE)

    def indices(self, mask: NDArray[np.int32]) -> NDArray[np.uint8] | None:
        """The class index of each pixel; None where the mask holds a value that stands for nothing."""
        place = np.searchsorted(self.values, mask).clip(max=len(self.values) - 1)
        return self.classes.take(place) if (self.values[place] == mask).all() else None

    def unknown(self, mask: NDArray[np.int32]) -> dict[str, int]:
        """The values that stand for nothing, as `params.yaml` would spell them, and how many pixels have each."""
        values, pixels = np.unique(mask[~np.isin(mask, self.values)], return_counts=True)
        return dict(zip(map(self._spelt, values), pixels.tolist(), strict=True))

    def listed(self) -> str:
        """The values that are expected."""
        return ", ".join(map(self._spelt, self.values))

    def _spelt(self, value: np.int32) -> str:
        return f"#{value:06x}" if self.are_colours else str(value)
