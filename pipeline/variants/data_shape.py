"""Size and number of the images, which determine the cost of training."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.artifacts.prepared_data import PreparedData
from pipeline.artifacts.project import Project
from pipeline.errors import PipelineError
from pipeline.params import Cell, Params
from pipeline.params.data import Data
from pipeline.params.data.composites import CompositesData
from pipeline.params.data.image_data import CategoryData, ImageMaskData, MaskData

RGB = 3  # default number of channels
PET_CLASSES = 3  # classes of the bundled data and of Oxford-IIIT Pet: animal, background, boundary
DEFAULT_IMAGES = 64  # assumed number of images per split before preparation, enough for a batch


@dataclass(frozen=True)
class DataShape:
    """Size and number of the prepared images."""

    size: tuple[int, int] | None  # px, height and width; None if images have their own sizes
    channels: int
    classes: int
    train: int  # images in the training split
    validation: int  # images in the validation split
    dtype: str = "uint8"
    mean_pixels: int = 0  # mean number of pixels of a validation image; 0 if unknown


def describe_data(params: Params, project: Project) -> DataShape:
    """Describe the prepared images; before preparation, describe the images that the parameters specify."""
    data, prepared = params.data, project.prepared
    if prepared.exists() and _is_current(prepared, data):
        view = prepared if prepared.dataset.folds is None else prepared.select_fold(0)
        train, validation = view.open_split("train"), view.open_split("validation")
        return DataShape(
            size=data.size,
            channels=train.num_channels,
            classes=len(prepared.dataset.classes),
            train=len(train),
            validation=len(validation),
            dtype=str(train.images.dtype),
            mean_pixels=validation.masks.nbytes // len(validation),
        )
    counts = (
        (data.samples.train, data.samples.validation)
        if isinstance(data, CompositesData)
        else (DEFAULT_IMAGES, DEFAULT_IMAGES)
    )
    channels = (data.channels or RGB) if isinstance(data, ImageMaskData) else RGB
    classes = len(data.classes) if isinstance(data, MaskData | CategoryData) else PET_CLASSES
    return DataShape(data.size, channels, classes, *counts)


def choose_input_size(cell: Cell, size: tuple[int, int] | None) -> tuple[int, int]:
    """Choose the height and width in px of a cell's training inputs: its patch size, or `size` for whole images.

    Raises:
        PipelineError: The images have native sizes, and the cell has no patch size.
    """
    chosen = cell.train.patch or size
    if chosen is None:
        raise PipelineError(
            "train.patch_size: must be set, because data.image_size is native. Set it to the side of the training "
            "patches in px, such as 256."
        )
    return chosen


def _is_current(prepared: PreparedData, data: Data) -> bool:
    """Return whether the prepared data has the image size and the classes of the parameters."""
    names = prepared.dataset.class_names
    written = [item.name for item in data.classes] if isinstance(data, MaskData | CategoryData) else names
    return names == written and (data.size is None or prepared.open_split("train").images.size == data.size)
