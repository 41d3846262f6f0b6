"""A prepared image with its mask."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Sample:
    """An image and its mask at the prepared size."""

    id: str  # unique across splits, usable as a file name
    groups: dict[str, str]  # group name by factor (animal, patient, ...)
    image: NDArray[Any]  # H x W x C, uint8 or uint16
    mask: NDArray[Any]  # H x W, uint8, class indices or IGNORE
    height: int  # of the original image, px
    width: int  # of the original image, px
    sha256: str  # of the concatenated source files
    has_ignored: bool = False  # whether the original mask has pixels with an ignored value
    instances: NDArray[np.uint16] | None = None  # H x W, number of the object at each pixel; None without numbers
    fold: int | None = None  # fold of a training image; None without cross-validation


SampleWriter = Callable[[str, Sample], None]  # called with the split of the sample
