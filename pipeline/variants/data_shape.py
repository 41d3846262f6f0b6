"""Size and number of images, on which the cost of training depends."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.artifacts.prepared_data import PreparedData
from pipeline.artifacts.project import Project
from pipeline.params import Params
from pipeline.params.data import Data
from pipeline.params.data.composites import CompositesData
from pipeline.params.data.image_data import CocoData, FolderData, ImageMaskData

RGB = 3  # default number of channels
PET_CLASSES = 3  # of the bundled data and Oxford-IIIT Pet: animal, background, boundary
DEFAULT_IMAGES = 64  # per split, before preparation: enough for a batch


@dataclass(frozen=True)
class DataShape:
    """Size and number of the prepared images."""

    size: tuple[int, int]  # px, height and width
    channels: int
    classes: int
    train: int  # images in the training split
    validation: int  # images in the validation split
    dtype: str = "uint8"


def describe_data(params: Params, project: Project) -> DataShape:
    """Describe the prepared images, or before preparation, what the parameters say."""
    data, prepared = params.data, project.prepared
    if prepared.exists() and _is_current(prepared, data):
        train, validation = prepared.open_split("train"), prepared.open_split("validation")
        return DataShape(
            size=data.size,
            channels=train.num_channels,
            classes=len(prepared.dataset.classes),
            train=len(train),
            validation=len(validation),
            dtype=str(train.images.dtype),
        )
    counts = (
        (data.samples.train, data.samples.validation)
        if isinstance(data, CompositesData)
        else (DEFAULT_IMAGES, DEFAULT_IMAGES)
    )
    channels = (data.channels or RGB) if isinstance(data, ImageMaskData) else RGB
    classes = len(data.classes) if isinstance(data, FolderData | CocoData) else PET_CLASSES
    return DataShape(data.size, channels, classes, *counts)


def _is_current(prepared: PreparedData, data: Data) -> bool:
    """Return whether prepared data have the size and the classes of the parameters."""
    names = [item.name for item in prepared.dataset.classes]
    written = [item.name for item in data.classes] if isinstance(data, FolderData | CocoData) else names
    return names == written and prepared.open_split("train").size == data.size
