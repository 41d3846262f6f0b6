"""Write the results of an image while it is segmented in strips."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.imaging import IGNORE
from pipeline.imaging.errors import ImageError
from pipeline.imaging.to_rgb import to_rgb
from pipeline.inference.objects import ObjectSettings
from pipeline.inference.preprocessing import STRIP_ROWS, Probs
from pipeline.inference.trained_run import TrainedRun
from pipeline.predict.find_images import SourceImage
from pipeline.predict.formats.mask_format import MaskWriter, PredictedMask, PredictedVolume, check_size
from pipeline.predict.objects import Image, ObjectFinder, ObjectTable
from pipeline.predict.outputs import ClassShares, compute_opacity, write_foreground, write_overlay
from pipeline.predict.row_file import RowFile
from pipeline.scenes.scene_image import SceneImage

MAX_PREVIEW = 8192  # px, longest side of an overlay or foreground, which are downsampled for larger images


@dataclass(frozen=True)
class OutputFiles:
    """Output folder, and the files to write for each image beside its mask."""

    folder: Path
    has_overlay: bool  # whether to write the image with its foreground classes in color
    has_foreground: bool  # whether to write the foreground on a transparent background

    def paths(self, image: SourceImage) -> tuple[Path, Path, Path]:
        """Return the paths of an image's overlay, foreground and objects."""
        return (
            self.folder / "overlays" / f"{image.name}.jpg",
            self.folder / "foreground" / f"{image.name}.png",
            self.folder / "objects" / f"{image.name}.tif",
        )


@dataclass(frozen=True, eq=False)
class InputImage:
    """An image to segment: a file, or a slice of a volume."""

    source: SourceImage
    pixels: Image  # H x W x C
    volume: PredictedVolume | None = None  # to which the mask of a slice is added


class ResultWriter:
    """Writer for the masks, overlays, foregrounds and objects of images that a run segments.

    Args:
        run: The run.
        files: Output folder and kinds of files.
        writers: Writers of the masks, by the names of their formats.
        objects: Classes of objects; None if no objects are written.

    Attributes:
        tables: The objects of each image written so far; empty if no objects are written.
    """

    def __init__(
        self,
        run: TrainedRun,
        files: OutputFiles,
        writers: Mapping[str, MaskWriter],
        objects: ObjectSettings | None = None,
    ) -> None:
        self._files, self._writers, self._objects, self._classes = files, writers, objects, run.data.classes
        self.tables: list[ObjectTable] = []
        self._preprocessing = run.preprocessing

    def list_files(self, source: SourceImage) -> list[Path]:
        """Return the files that are written for an image, a volume or a slice of a volume."""
        overlay, foreground, label_image = self._files.paths(source)
        masks = [path for writer in self._writers.values() for path in writer.list_files(source)]
        if source.is_volume:  # its slices have the other files
            return masks
        is_written = {
            overlay: self._files.has_overlay,
            foreground: self._files.has_foreground,
            label_image: self._objects is not None,
        }
        others = [path for path, written in is_written.items() if written]
        return others if source.slice else [*masks, *others]

    def check_size(self, shape: tuple[int, ...]) -> None:
        """Raise `ImageError` if the mask of an image of `shape` is too large for a format."""
        check_size(self._writers, shape)

    def write_volume(self, volume: PredictedVolume) -> None:
        """Write the mask of a volume to which all slices were added."""
        for writer in self._writers.values():
            writer.write_volume(volume)

    def write(self, segmented: InputImage, strips: Iterable[Probs]) -> ClassShares:
        """Write the results of an image. The mask of a slice is added to that of its volume instead.

        Args:
            segmented: The image.
            strips: Class probabilities for strips of the network input from top to bottom, each classes x rows x W.

        Returns:
            The image's row of the table.

        Raises:
            ImageError: Part of the file cannot be decoded, or no pixel has data. In this case, no result is written.
        """
        source, image = segmented.source, segmented.pixels
        overlay, foreground, label_image = self._files.paths(source)
        height, width, _ = image.shape
        stride = math.ceil(max(height, width) / MAX_PREVIEW)
        pixels = np.zeros(len(self._classes), np.int64)  # number of pixels of each class
        shown: list[NDArray[np.uint8]] = []  # class indices of the overlay
        opacity: list[NDArray[np.uint8]] = []
        confidence: list[NDArray[np.float16]] = []
        needs_confidence = any(writer.needs_confidence for writer in self._writers.values())
        finder = self._create_finder(image.shape)
        top, has_nodata = 0, isinstance(image, SceneImage) and image.has_nodata
        with RowFile(width, np.uint8) as mask, finder or contextlib.nullcontext():
            for probs in self._preprocessing.restore_probs(strips, image.shape):
                labels = probs.argmax(axis=0).astype(np.uint8)
                if isinstance(image, SceneImage) and has_nodata:
                    labels[~image.read_validity(top, top + len(labels))] = IGNORE
                pixels += np.bincount(labels[labels != IGNORE], minlength=len(pixels))
                rows = slice(-top % stride, None, stride)
                if self._files.has_overlay:
                    shown.append(labels[rows, ::stride].copy())  # a view would keep all labels in memory
                if self._files.has_foreground:
                    shares = compute_opacity(probs[:, rows, ::stride], self._classes)
                    opacity.append(np.where(labels[rows, ::stride] == IGNORE, np.uint8(0), shares))
                if needs_confidence:
                    confidence.append(probs.max(axis=0).astype(np.float16))
                if finder is not None:
                    finder.add(labels)
                mask.write(top, labels)
                top += len(labels)
            joined = np.concatenate(confidence) if confidence else None
            if not pixels.any():
                raise ImageError("has only nodata pixels")
            predicted = PredictedMask(source, height, width, mask, joined, has_nodata)
            if segmented.volume is not None:
                segmented.volume.add(predicted)
            else:
                for writer in self._writers.values():
                    writer.write(predicted)
            if finder is not None:
                self.tables.append(finder.finish(image, label_image, source.path, str(source), self._classes))
        if self._files.has_overlay or self._files.has_foreground:
            rgb = to_rgb(_shrink(image, stride))
            if shown:
                write_overlay(overlay, rgb, np.concatenate(shown), self._classes)
            if opacity:
                write_foreground(foreground, rgb, np.concatenate(opacity))
        return ClassShares(str(source), height, width, tuple((pixels / pixels.sum()).tolist()))

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


def _shrink(image: Image, stride: int) -> NDArray[Any]:
    """Downsample an image to every `stride`-th pixel in both directions; a file is read in strips."""
    if isinstance(image, np.ndarray):
        return image[::stride, ::stride]
    height, width, _ = image.shape
    step = max(1, STRIP_ROWS // stride) * stride
    tops = range(0, height, step)
    # Copies: views would keep all decoded rows in memory.
    return np.concatenate([image[top : min(top + step, height), 0:width][::stride, ::stride].copy() for top in tops])
