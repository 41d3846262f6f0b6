"""Write the results of an image while it is segmented in strips."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.imaging.tiff_image import TiffImage
from pipeline.imaging.to_rgb import to_rgb
from pipeline.inference.objects import ObjectSettings
from pipeline.inference.preprocessing import STRIP_ROWS, Probs
from pipeline.inference.trained_run import TrainedRun
from pipeline.params.data.file_pattern import find_ending
from pipeline.predict.objects import ObjectFinder, ObjectTable
from pipeline.predict.outputs import (
    ClassShares,
    compute_opacity,
    create_palette,
    encode_labels,
    write_foreground,
    write_overlay,
    write_png_mask,
)
from pipeline.predict.tiff_mask import write_tiff_mask
from pipeline.predict.volume_mask import VolumeMask
from pipeline.volumes.nifti import NIFTI_ENDINGS

MAX_PREVIEW = 8192  # px, longest side of an overlay or foreground, which are downsampled for larger images
TIFF_ENDINGS = (".tif", ".tiff")


@dataclass(frozen=True)
class OutputFiles:
    """Output folder, and the files to write for each image."""

    folder: Path
    has_overlay: bool  # whether to write the image with its foreground classes in color
    has_foreground: bool  # whether to write the foreground on a transparent background

    def paths(self, source: Path, name: str) -> tuple[Path, Path, Path, Path]:
        """Return the paths of an image's mask, overlay, foreground and objects.

        The mask of a TIFF is a TIFF, and that of a NIfTI file a NIfTI file.
        """
        ending = find_ending(source.name, NIFTI_ENDINGS)
        if not ending:
            ending = ".tif" if source.suffix.lower() in TIFF_ENDINGS else ".png"
        return (
            self.folder / "masks" / f"{name}{ending}",
            self.folder / "overlays" / f"{name}.jpg",
            self.folder / "foreground" / f"{name}.png",
            self.folder / "objects" / f"{name}.tif",
        )


@dataclass(frozen=True, eq=False)
class InputImage:
    """An image to segment: a file, or a slice of a volume."""

    file: str  # in tables
    source: Path  # the file, or that of the volume
    name: str  # of the results: a path without suffix, relative to the result folders
    pixels: NDArray[Any] | TiffImage  # H x W x C
    volume_mask: VolumeMask | None = None  # mask of the volume, to which the mask of the slice is added


class ResultWriter:
    """Writer for the masks, overlays, foregrounds and objects of images that a run segments.

    Args:
        run: The run.
        files: Output folder and kinds of files.
        objects: Classes of objects; None if no objects are written.

    Attributes:
        tables: The objects of each image written so far; empty if no objects are written.
    """

    def __init__(self, run: TrainedRun, files: OutputFiles, objects: ObjectSettings | None = None) -> None:
        self._files, self._classes, self._encoding = files, run.data.classes, run.encoding
        self._objects = objects
        self.tables: list[ObjectTable] = []
        self._preprocessing = run.preprocessing
        self._palette = create_palette(run.encoding, run.data.classes)

    @property
    def palette(self) -> NDArray[np.uint8] | None:
        """Colors of the mask values, 256 x 3; None if values are colors or exceed 255."""
        return self._palette

    def write(self, segmented: InputImage, strips: Iterable[Probs]) -> ClassShares:
        """Write the results of an image.

        Args:
            segmented: The image.
            strips: Class probabilities for strips of the network input from top to bottom, each classes x rows x W.

        Returns:
            The image's row of the table.

        Raises:
            ImageError: Part of the file cannot be decoded. In this case, no result is written.
        """
        source, image, file = segmented.source, segmented.pixels, segmented.file
        mask, overlay, foreground, label_image = self._files.paths(source, segmented.name)
        height, width, _ = image.shape
        stride = math.ceil(max(height, width) / MAX_PREVIEW)
        pixels = np.zeros(len(self._classes), np.int64)  # number of pixels of each class
        shown: list[NDArray[np.uint8]] = []  # class indices of the overlay
        opacity: list[NDArray[np.uint8]] = []
        finder = self._create_finder(image.shape)

        def encode_strips() -> Iterator[NDArray[Any]]:
            top = 0
            for probs in self._preprocessing.restore_probs(strips, image.shape):
                labels = probs.argmax(axis=0).astype(np.uint8)
                pixels[:] += np.bincount(labels.ravel(), minlength=len(pixels))
                rows = slice(-top % stride, None, stride)
                if self._files.has_overlay:
                    shown.append(labels[rows, ::stride].copy())  # a view would keep all labels in memory
                if self._files.has_foreground:
                    opacity.append(compute_opacity(probs[:, rows, ::stride], self._classes))
                if finder is not None:
                    finder.add(labels)
                top += len(labels)
                yield encode_labels(labels, self._encoding)

        with finder or contextlib.nullcontext():
            if segmented.volume_mask is not None:
                segmented.volume_mask.add(np.concatenate(list(encode_strips())))
            elif mask.suffix == ".png":
                write_png_mask(mask, np.concatenate(list(encode_strips())), self._palette)
            else:
                shape = (height, width, 3) if self._encoding.are_colors else (height, width)
                write_tiff_mask(mask, encode_strips(), shape, self._palette, source)
            if finder is not None:
                self.tables.append(finder.finish(image, label_image, source, file, self._classes))
        if self._files.has_overlay or self._files.has_foreground:
            rgb = to_rgb(_shrink(image, stride))
            if shown:
                write_overlay(overlay, rgb, np.concatenate(shown), self._classes)
            if opacity:
                write_foreground(foreground, rgb, np.concatenate(opacity))
        return ClassShares(file, height, width, tuple((pixels / pixels.sum()).tolist()))

    def _create_finder(self, shape: tuple[int, ...]) -> ObjectFinder | None:
        """Create the finder for the objects of an image (H x W x C); None if no objects are written."""
        if self._objects is None:
            return None
        height, width = shape[:2]
        inner = self._preprocessing.resizing.compute_inner_size(shape)
        # The minimum area is in px of the prepared image.
        min_area = self._objects.min_area * height * width / (inner[0] * inner[1])
        is_gray = self._preprocessing.channels == 1
        return ObjectFinder((height, width), self._objects, min_area, is_gray=is_gray)


def _shrink(image: NDArray[Any] | TiffImage, stride: int) -> NDArray[Any]:
    """Downsample an image to every `stride`-th pixel in both directions; a TIFF file is read in strips."""
    if isinstance(image, np.ndarray):
        return image[::stride, ::stride]
    height, width, _ = image.shape
    step = max(1, STRIP_ROWS // stride) * stride
    tops = range(0, height, step)
    # Copies: views would keep all decoded rows in memory.
    return np.concatenate([image[top : min(top + step, height), 0:width][::stride, ::stride].copy() for top in tops])
