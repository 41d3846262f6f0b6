"""Thumbnails of untrusted image and mask files, which may be invalid."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path, PurePath

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from pipeline.artifacts.prepared_data import SegmentationClass
from pipeline.imaging.decode import read_fitted
from pipeline.imaging.errors import ImageError
from pipeline.imaging.mask_decoding import MASK_ENDINGS, decode_mask
from pipeline.imaging.resize import FixedSize
from pipeline.prepare.read_file import parse_reference, read_file
from pipeline.report.figures.image_html import render_mask
from pipeline.report.figures.thumbnail import SIDE, render_thumbnail
from pipeline.report.images import EmbeddedImage, Frame, ImageArray
from pipeline.volumes.slice_file import IntensityWindow

_NO_MASK = (SegmentationClass("", "#000000", foreground=False),)
# Colors of values in ascending order; further values start again. Declared values are gray if others are highlighted.
DECLARED_COLORS, UNDECLARED_COLOR = ("#2b2a27", "#bdb9ae", "#74706a"), "#ff5a1f"
_VALUE_COLORS = ("#000000", "#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7")  # Okabe, Ito


def render_plain(image: ImageArray, alt: str, caption: str, frame: Frame) -> EmbeddedImage:
    """Render a thumbnail of an image (H x W x C) without a mask."""
    return render_thumbnail(image, np.zeros(image.shape[:2], np.uint8), _NO_MASK, alt, caption, frame)


@dataclass(frozen=True)
class FileThumbnails:
    """Renders thumbnails of images and masks in a folder. A file that cannot be shown has no thumbnail.

    Names come from annotations, so files outside the folder are never opened.
    """

    folder: Path
    channels: int | None  # of the images
    window: IntensityWindow | None = None  # mapping of the slices' intensities to gray values

    def render_image(self, file: str) -> EmbeddedImage | None:
        """Render an image file."""
        try:
            content = self._read(file, self.window)
            fitted, height, width = read_fitted(content, self.channels, FixedSize((SIDE, SIDE), "letterbox"))
        except (OSError, ValueError, ImageError):  # ValueError: the name contains a null character
            return None
        return render_plain(fitted, f"Image {file}", "image", Frame(height, width, "letterbox"))

    def render_mask(self, file: str, undeclared: Collection[str]) -> EmbeddedImage | None:
        """Render the values of a mask file as colors, or highlight those that no class declares."""
        if not file.lower().endswith(MASK_ENDINGS) and parse_reference(file) is None:  # a file of annotations
            return None
        try:
            values = self._read_values(file, are_colors=any(value.startswith("#") for value in undeclared))
            marked = [int(value.removeprefix("#"), 16 if value.startswith("#") else 10) for value in undeclared]
        except (OSError, ValueError, ImageError):
            return None
        height, width = values.shape
        scale = min(1.0, SIDE / max(height, width))
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        colors = DECLARED_COLORS if marked else _VALUE_COLORS
        ranks = np.unique(values, return_inverse=True)[1].reshape(values.shape) % len(colors)
        small = np.array(Image.fromarray(ranks.astype(np.uint8)).resize(size, Image.Resampling.NEAREST))
        if not marked:
            return render_mask(small, _create_classes(colors), f"Values of the mask {file}, each in a color", "mask")
        is_undeclared = np.isin(values, marked)
        if scale < 1:  # keep single pixels, and enlarge them so that they are visible
            found = Image.fromarray(np.where(is_undeclared, 255, 0).astype(np.uint8))
            found = found.resize(size, Image.Resampling.BOX).filter(ImageFilter.MaxFilter(3))
            is_undeclared = np.asarray(found) > 0
        small[is_undeclared] = len(colors)
        alt = f"Mask {file}, with undeclared values highlighted"
        return render_mask(small, _create_classes((*colors, UNDECLARED_COLOR)), alt, "mask")

    def _read_values(self, file: str, are_colors: bool) -> npt.NDArray[np.integer]:
        content = self._read(file)
        try:
            return decode_mask(content, colors=are_colors).values
        except ImageError:
            if are_colors:
                raise
            return decode_mask(content, colors=True).values

    def _read(self, file: str, window: IntensityWindow | None = None) -> bytes:
        path = PurePath(file)
        if path.is_absolute() or ".." in path.parts:
            raise ValueError("the file is outside the folder")
        return read_file(self.folder, file, window)


def _create_classes(colors: tuple[str, ...]) -> tuple[SegmentationClass, ...]:
    return tuple(SegmentationClass(color, color, foreground=False) for color in colors)
