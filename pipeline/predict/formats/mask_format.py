"""Interface of the formats in which masks are written."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from pipeline.artifacts.prepared_data import SegmentationClass
from pipeline.errors import PipelineError
from pipeline.imaging.errors import ImageError
from pipeline.imaging.mask_to_classes import MaskEncoding
from pipeline.imaging.pixel_size import PixelSize
from pipeline.predict.find_images import SourceImage
from pipeline.predict.row_file import RowFile
from pipeline.volumes.volume import Volume


@dataclass(frozen=True)
class WriterSettings:
    """What writers know about the model and the data."""

    folder: Path  # output folder
    model: str  # the run, or the ensemble of runs, in words
    classes: tuple[SegmentationClass, ...]
    encoding: MaskEncoding  # values of the classes in the user's masks
    background: int | None  # index of the class whose pixels have no annotation; None if every class is annotated
    pixel: PixelSize | None  # size of a pixel of the images; None if it is unknown


@dataclass(frozen=True, eq=False)
class PredictedMask:
    """The predicted mask of an image, or of a slice of a volume."""

    image: SourceImage
    height: int  # px
    width: int  # px
    rows: RowFile  # class indices, uint8
    confidence: NDArray[np.float16] | None  # probability of the predicted class, H x W; None if no writer needs it
    has_nodata: bool = False  # whether pixels may have the class index IGNORE, because the image has no data there

    def read_strips(self) -> Iterator[NDArray[np.uint8]]:
        """Read the class indices in strips from top to bottom, rows x W each."""
        return self.rows.read_strips(self.height)

    def read(self) -> NDArray[np.uint8]:
        """Read all class indices, H x W."""
        return self.rows.read(0, self.height)


class PredictedVolume:
    """The predicted masks of the slices of a volume, in a temporary file. Use as a context manager.

    Args:
        image: The file of the volume.
        volume: The volume.
    """

    def __init__(self, image: SourceImage, volume: Volume) -> None:
        self.image, self.volume = image, volume
        self._rows = RowFile(volume.width, np.uint8)  # class indices, slice after slice
        self._num_rows = 0

    def __enter__(self) -> PredictedVolume:
        """Return the volume itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Remove the temporary file."""
        self._rows.close()

    def add(self, mask: PredictedMask) -> None:
        """Add the mask of the next slice."""
        for strip in mask.read_strips():
            self._rows.write(self._num_rows, strip)
            self._num_rows += len(strip)

    def read_slices(self) -> Iterator[NDArray[np.uint8]]:
        """Read the class indices slice by slice, H x W each."""
        height = self.volume.height
        for top in range(0, self._num_rows, height):
            yield self._rows.read(top, top + height)


class MaskWriter(ABC):
    """Writer of masks in one format."""

    needs_confidence: ClassVar[bool] = False  # whether masks must have the probabilities of the predicted classes
    writes_pixel_size: ClassVar[bool] = False  # whether files state `data.pixel_size`
    has_annotations: ClassVar[bool] = False  # whether pixels of the background have no annotation
    # Largest image, in px, of a format that needs whole masks in memory; None if masks are written in strips.
    max_pixels: ClassVar[int | None] = None

    @property
    @abstractmethod
    def place(self) -> str:
        """Folder or file of the results in the output folder."""

    @abstractmethod
    def list_files(self, image: SourceImage) -> list[Path]:
        """Return the files that contain the mask of an image."""

    @abstractmethod
    def write(self, mask: PredictedMask) -> None:
        """Write the mask of an image."""

    def find_volume_problem(self, image: SourceImage) -> str:  # noqa: ARG002
        """Describe why the mask of a volume cannot be written; the text is empty if it can."""
        return "and volumes have no masks in this format. Use --format png, which writes a mask volume."

    def write_volume(self, volume: PredictedVolume) -> None:
        """Write the mask of a volume. Called only if `find_volume_problem` finds none."""
        raise TypeError(f"{type(self).__name__} cannot write {volume.image}, a volume")

    def finish(self) -> None:  # noqa: B027
        """Write what all images share, after the last one."""


class FileWriter(MaskWriter):
    """Writer of one file per image.

    Args:
        folder: Output folder.
        name: Folder in it.
        ending: Ending of the files.
    """

    def __init__(self, folder: Path, name: str, ending: str) -> None:
        self._folder, self._name, self._ending = folder, name, ending

    @property
    def place(self) -> str:
        """Folder of the files."""
        return f"{self._name}/"

    def locate(self, image: SourceImage) -> Path:
        """Return the file of an image."""
        return self._folder / self._name / f"{image.name}{self.get_ending(image)}"

    def get_ending(self, image: SourceImage) -> str:  # noqa: ARG002
        """Return the ending of the file of an image."""
        return self._ending

    def list_files(self, image: SourceImage) -> list[Path]:
        """Return the file of an image."""
        return [self.locate(image)]


@dataclass(frozen=True)
class MaskFormat:
    """A format of masks."""

    name: str  # value of --format
    create_writer: Callable[[WriterSettings], MaskWriter]  # raises `PipelineError` if the data does not fit the format


def check_size(writers: Mapping[str, MaskWriter], shape: tuple[int, ...]) -> None:
    """Raise `ImageError` if a writer, by the name of its format, cannot write the mask of an image of `shape`."""
    pixels = shape[0] * shape[1]
    for name, writer in writers.items():
        if writer.max_pixels is not None and pixels > writer.max_pixels:
            raise ImageError(
                f"has {pixels / 1e6:.1f} megapixels, but --format {name} keeps whole masks in memory and takes at most "
                f"{writer.max_pixels / 1e6:.0f}; use --format png or tiff for this image"
            )


def check_volume(writers: Mapping[str, MaskWriter], image: SourceImage) -> None:
    """Raise `PipelineError` if a writer, by the name of its format, cannot write the mask of a volume."""
    for name, writer in writers.items():
        if problem := writer.find_volume_problem(image):
            raise PipelineError(f"--format {name}: {image} is a volume, {problem}")
