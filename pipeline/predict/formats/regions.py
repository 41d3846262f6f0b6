"""Split predicted masks into annotations: the connected regions of each class except the background."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.artifacts.prepared_data import SegmentationClass
from pipeline.errors import PipelineError
from pipeline.imaging.objects import label_insides
from pipeline.params.data import Data
from pipeline.params.data.image_data import CategoryData
from pipeline.predict.formats.mask_format import PredictedMask, WriterSettings
from pipeline.wording import join_names

# px; the largest image that is split. The numbers of the regions take up to 20 bytes per pixel while they are computed.
MAX_PIXELS = 50_000_000
_ROWS = 512  # rows per step of an average


@dataclass(frozen=True, eq=False)
class Regions:
    """Regions of a mask, numbered from 1."""

    numbers: NDArray[np.int32]  # H x W, number of the region at each pixel; 0 is background
    classes: NDArray[np.uint8]  # class index by number, with an unused entry for number 0


def find_background(data: Data, classes: Sequence[SegmentationClass]) -> int | None:
    """Find the class whose pixels have no annotation.

    It is the class with `category: null` if the data has annotations, else the first class that is neither foreground
    nor boundary.

    Args:
        data: The `data` section.
        classes: Classes of the data.

    Returns:
        Its index; None if all classes are annotated.
    """
    if isinstance(data, CategoryData):
        without = [item.name for item in data.classes if not item.categories]
        return next((index for index, item in enumerate(classes) if item.name in without), None)
    return next((index for index, item in enumerate(classes) if not item.foreground and not item.is_boundary), None)


def list_annotated(settings: WriterSettings, name: str) -> list[int]:
    """List the indices of the classes that are annotated.

    Raises:
        PipelineError: No class is foreground, so there is nothing to outline. The message names the format `name`.
    """
    if not any(item.foreground for item in settings.classes):
        names = join_names(item.name for item in settings.classes)
        raise PipelineError(
            f"--format {name}: no class of the data is foreground ({names}), so there is nothing to outline. Use "
            f"--format png or tiff, or write foreground: true for a class in data.classes and prepare the data again."
        )
    return [index for index in range(len(settings.classes)) if index != settings.background]


def find_regions(mask: PredictedMask, annotated: Sequence[int]) -> Regions:
    """Number the connected regions of each annotated class; pixels that touch at a corner are connected."""
    return Regions(*label_insides(mask.read(), annotated))


def average_in_regions(regions: Regions, values: NDArray[np.float16]) -> NDArray[np.float64]:
    """Average values (H x W) over the pixels of each region; the entry for number 0 is that of the background."""
    size = len(regions.classes)
    sums, areas = np.zeros(size), np.zeros(size)
    for top in range(0, len(values), _ROWS):  # in strips, because bincount converts to float64
        numbers = regions.numbers[top : top + _ROWS].ravel()
        sums += np.bincount(numbers, values[top : top + _ROWS].ravel(), size)
        areas += np.bincount(numbers, minlength=size)
    return sums / np.maximum(areas, 1)
