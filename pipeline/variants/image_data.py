"""What the cost of a training depends on, of its images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pipeline import runs
from pipeline.data.prepared import open_split
from pipeline.params import Params
from pipeline.params.data import Data
from pipeline.params.data.composites import CompositesData
from pipeline.params.data.image_data import CocoData, FolderData, ImageMaskData

RGB = 3  # channels by default
OWN_CLASSES = 3  # of sources that bring their own: an animal, the background, the border between them
UNKNOWN = 64  # images in a split that is not prepared yet: enough to fill a batch


@dataclass(frozen=True)
class ImageData:
    """Size and number of the prepared images."""

    size: int  # px, height and width
    channels: int
    classes: int
    train: int  # images in the training split
    validation: int  # images in the validation split
    dtype: str = "uint8"


def describe_images(params: Params, root: Path) -> ImageData:
    """Describe the prepared images, or what the parameters say of them before they are prepared.

    Args:
        params: the whole of `params.yaml`.
        root: the project's folder.
    """
    data, folder = params.data, root / runs.PREPARED
    if (folder / runs.CLASSES).exists() and _is_of(folder, data):
        train, validation = open_split("train", folder), open_split("validation", folder)
        return ImageData(
            size=data.image_size,
            channels=train.images.shape[-1],
            classes=len(runs.DataSet.read(folder).classes),
            train=len(train),
            validation=len(validation),
            dtype=str(train.images.dtype),
        )
    counts = (data.samples.train, data.samples.validation) if isinstance(data, CompositesData) else (UNKNOWN, UNKNOWN)
    channels = (data.channels or RGB) if isinstance(data, ImageMaskData) else RGB
    classes = len(data.classes) if isinstance(data, FolderData | CocoData) else OWN_CLASSES
    return ImageData(data.image_size, channels, classes, *counts)


def _is_of(folder: Path, data: Data) -> bool:
    """Return whether prepared data has the size and the classes of the parameters, so that it is not older."""
    names = [item.name for item in runs.DataSet.read(folder).classes]
    written = [item.name for item in data.classes] if isinstance(data, FolderData | CocoData) else names
    return names == written and open_split("train", folder).images.shape[1] == data.image_size
