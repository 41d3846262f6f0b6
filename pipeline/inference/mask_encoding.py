"""The mask encoding of a data section: which values a user's masks, and predicted masks, have."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.imaging import IGNORE
from pipeline.imaging.mask_encoding import MaskEncoding
from pipeline.params.data import Data
from pipeline.params.data.composites import SampleData
from pipeline.params.data.fields import as_values
from pipeline.params.data.image_data import FolderData, FolderForTest, OxfordPetsData


def create_mask_encoding(data: Data, class_names: Sequence[str]) -> MaskEncoding:
    """Create the encoding of the user's own masks, or class indices if the source has no masks with class values.

    Args:
        data: The section `data` of the parameters.
        class_names: Of the prepared data, in the order of their indices.
    """
    folder = data.test if isinstance(data, SampleData) else data
    if isinstance(folder, FolderForTest) or (isinstance(folder, FolderData) and not folder.instances):
        by_name = {item.name: as_values(item.value) for item in folder.classes}
        return MaskEncoding.from_values(
            [by_name[name] for name in class_names], as_values(folder.ignore), folder.mask_threshold
        )
    first = 1 if isinstance(data, OxfordPetsData) else 0  # Oxford's trimaps count from 1
    return MaskEncoding.from_values([(first + index,) for index in range(len(class_names))], (IGNORE,))
