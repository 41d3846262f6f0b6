"""Formats png and tiff: an image file, or a volume, with the class of each pixel."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipeline.artifacts.prepared_data import SegmentationClass
from pipeline.atomic_io import write_with
from pipeline.imaging import IGNORE
from pipeline.imaging.errors import ImageError
from pipeline.imaging.mask_to_classes import MaskEncoding
from pipeline.params.data.file_pattern import find_ending
from pipeline.predict.find_images import SourceImage
from pipeline.predict.formats.mask_format import (
    FileWriter,
    MaskFormat,
    PredictedMask,
    PredictedVolume,
    WriterSettings,
)
from pipeline.predict.tiff_mask import write_tiff_mask
from pipeline.predict.volume_mask import write_volume_mask
from pipeline.volumes.open_volume import find_format
from pipeline.volumes.tiff_stack import TIFF_ENDINGS


class ValueMaskWriter(FileWriter):
    """Writer of masks with the values of the user's own masks: PNG, TIFF for a TIFF, or NIfTI for a NIfTI file.

    The mask of a TIFF is written in strips. A PNG needs the whole mask, but so does its image.
    """

    def __init__(self, settings: WriterSettings) -> None:
        super().__init__(settings.folder, "masks", ".png")
        self._encoding = settings.encoding
        self._palette = create_palette(settings.encoding, settings.classes)

    def get_ending(self, image: SourceImage) -> str:
        """Return the ending of a mask: that of a TIFF for a TIFF, and that of its format for another volume."""
        if image.path.suffix.lower() in TIFF_ENDINGS:
            return ".tif"
        if not image.is_volume:
            return super().get_ending(image)
        endings = find_format(image.path).mask_endings
        return find_ending(image.path.name, endings) or endings[0]

    def write(self, mask: PredictedMask) -> None:
        """Write a mask."""
        path = self.locate(mask.image)
        if path.suffix == ".png":
            write_png_mask(path, encode_labels(mask.read(), self._encoding), self._palette)
            return
        strips = (encode_labels(labels, self._encoding) for labels in mask.read_strips())
        shape = (mask.height, mask.width, 3) if self._encoding.are_colors else (mask.height, mask.width)
        nodata = self._encoding.nodata_value
        if mask.has_nodata and nodata is None:
            raise ImageError("has nodata pixels, but the classes use all values of 8 bits; use --format tiff")
        if self._encoding.are_colors or not mask.has_nodata:
            nodata = None
        write_tiff_mask(path, strips, shape, self._palette, mask.image.path, nodata=nodata)

    def find_volume_problem(self, image: SourceImage) -> str:
        """Describe why the mask of a volume cannot be written; the text is empty if it can."""
        if self._encoding.are_colors and self.get_ending(image) != ".tif":
            return (
                f"but the classes of the run are colors, which a mask that ends in {self.get_ending(image)} cannot "
                f"have. Convert it to a TIFF stack."
            )
        return ""

    def write_volume(self, volume: PredictedVolume) -> None:
        """Write a mask volume with the geometry of the volume."""
        slices = (encode_labels(labels, self._encoding) for labels in volume.read_slices())
        write_volume_mask(self.locate(volume.image), volume.volume, slices, self._palette)


class LabelWriter(FileWriter):
    """Writer of TIFFs with class indices, in strips.

    The size of a pixel is `data.pixel_size`; without it, that of the image, if it is a TIFF.
    """

    writes_pixel_size = True

    def __init__(self, settings: WriterSettings) -> None:
        super().__init__(settings.folder, "labels", ".tif")
        self._pixel = settings.pixel
        self._palette = np.zeros((256, 3), np.uint8)
        self._palette[: len(settings.classes)] = [item.rgb for item in settings.classes]

    def write(self, mask: PredictedMask) -> None:
        """Write a label image."""
        shape = mask.height, mask.width
        write_tiff_mask(
            self.locate(mask.image),
            mask.read_strips(),
            shape,
            self._palette,
            mask.image.path,
            pixel=self._pixel,
            nodata=IGNORE if mask.has_nodata else None,
        )


def encode_labels(labels: NDArray[np.uint8], encoding: MaskEncoding) -> NDArray[Any]:
    """Convert class indices and IGNORE (H x W) to mask values as in the training data.

    Returns:
        The values: uint8, uint16, or colors (H x W x 3).
    """
    table = np.full(IGNORE + 1, encoding.nodata_value or 0, np.int32)
    table[: len(encoding.output_values)] = encoding.output_values
    values = table[labels]
    if encoding.are_colors:
        return np.stack([values >> 16, values >> 8 & 255, values & 255], axis=-1).astype(np.uint8)
    return values.astype(np.uint16 if encoding.output_values.max() > 255 else np.uint8)


def create_palette(encoding: MaskEncoding, classes: tuple[SegmentationClass, ...]) -> NDArray[np.uint8] | None:
    """Create a palette (256 x 3) with the classes' colors for 8-bit masks; None if values are colors or exceed 255."""
    if encoding.are_colors or encoding.output_values.max() > 255:
        return None
    palette = np.zeros((256, 3), np.uint8)
    palette[encoding.output_values] = [item.rgb for item in classes]
    return palette


def write_png_mask(path: Path, values: NDArray[Any], palette: NDArray[np.uint8] | None) -> None:
    """Write mask values, as returned by `encode_labels`, to a PNG file."""
    image = Image.fromarray(values)
    if palette is not None:
        image.putpalette(palette.tobytes())
    write_with(path, lambda file: image.save(file, "PNG"))


PNG, TIFF = MaskFormat("png", ValueMaskWriter), MaskFormat("tiff", LabelWriter)
