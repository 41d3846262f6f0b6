"""Read the images and masks of `report.showcase`, as network input and for display in the report."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipeline.errors import PipelineError
from pipeline.imaging import IGNORE
from pipeline.imaging.errors import ImageError
from pipeline.imaging.instances import classify_instances
from pipeline.imaging.mask_decoding import MAX_NUMBER, MAX_VALUE, DecodedMask, decode_mask, orient_mask
from pipeline.imaging.mask_to_classes import MaskEncoding
from pipeline.imaging.metadata import fits_either_way, read_orientation
from pipeline.imaging.resize import FixedSize
from pipeline.inference.preprocessing import Preprocessing
from pipeline.params import ShowcaseImage
from pipeline.params.data.image_data import MaskOrientation
from pipeline.wording import join_names

Decoded = TypeVar("Decoded")

MAX_LISTED = 8  # values in an error message
MAX_SIDE = 576  # px, longest side of an image in the report


@dataclass(frozen=True, eq=False)
class DecodedImage:
    """An image of `report.showcase`, and its mask if it has one."""

    network_input: NDArray[Any]  # H x W x C
    truth: NDArray[np.uint8] | None  # class index or IGNORE, H x W like the network input; None without a mask
    shape: tuple[int, ...]  # H, W and C of the file
    shown: NDArray[Any]  # H x W x C, shrunk if its longer side exceeds MAX_SIDE
    preprocessing: Preprocessing

    def restore_proportions(self, mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Remove the padding from a mask of the network input's size, and resize it to the image's proportions."""
        longest = max(self.shown.shape[:2])
        height, width = (max(1, round(side * max(mask.shape) / longest)) for side in self.shown.shape[:2])
        inner = Image.fromarray(mask[self.preprocessing.resizing.locate_inner(self.shape)])
        return np.asarray(inner.resize((width, height), Image.Resampling.NEAREST), dtype=np.uint8)


def read_showcase_image(
    entry: ShowcaseImage,
    folder: Path,
    preprocessing: Preprocessing,
    encoding: MaskEncoding,
    mask_orientation: MaskOrientation | None = None,
    border: int | None = None,
) -> DecodedImage:
    """Read an image of `report.showcase`, and its mask if it has one.

    Args:
        entry: The entry of `report.showcase`.
        folder: The folder with its files.
        preprocessing: The preprocessing of the network that segments the image.
        encoding: The encoding of the masks that the network was trained on.
        mask_orientation: Whether the mask covers the upright or the stored image; None if this is unknown.
        border: Width in px of the border of the objects that the mask numbers; None if its values are classes.

    Raises:
        PipelineError: A file is missing or not an image, the mask does not fit, or its orientation is unknown.
    """
    image = _read(folder / entry.file, preprocessing.read_image)
    truth = None
    if entry.mask is not None:
        orientation = _read(folder / entry.file, read_orientation)
        mask = _read_mask(folder / entry.mask, image.shape[:2], encoding, orientation, mask_orientation, border)
        truth = preprocessing.resizing.fit_mask(mask, outside=IGNORE)
    return DecodedImage(preprocessing.create_input(image), truth, image.shape, _shrink(image), preprocessing)


def _shrink(image: NDArray[Any]) -> NDArray[Any]:
    if max(image.shape[:2]) <= MAX_SIDE:
        return image
    resizing = FixedSize((MAX_SIDE, MAX_SIDE), "letterbox")
    return np.ascontiguousarray(resizing.fit_image(image)[resizing.locate_inner(image.shape)])


def _read_mask(
    path: Path,
    shape: tuple[int, ...],
    encoding: MaskEncoding,
    orientation: int,
    mask_orientation: MaskOrientation | None,
    border: int | None,
) -> NDArray[np.uint8]:
    max_value = MAX_VALUE if border is None else MAX_NUMBER
    decoded: DecodedMask = _read(path, lambda content: decode_mask(content, encoding.are_colors, max_value))
    mask = decoded.values
    if not decoded.has_orientation:
        if mask_orientation is None and fits_either_way(orientation, *shape):
            raise PipelineError(
                f"report.showcase: {path} fits its image both upright and as stored (EXIF orientation {orientation}). "
                "Save the image upright, without EXIF, or set data.mask_orientation."
            )
        mask = orient_mask(mask, orientation) if mask_orientation == "stored" else mask
    if mask.shape != shape:
        raise PipelineError(
            f"report.showcase: {path} has {mask.shape[1]} × {mask.shape[0]} pixels, but its image has {shape[1]} × "
            f"{shape[0]}. Save the mask with the size of the image."
        )
    if border is not None:
        mask = classify_instances(mask, border)
    if not encoding.covers(mask):
        values = join_names(encoding.count_unknown(mask), MAX_LISTED)
        raise PipelineError(f"report.showcase: {path} contains the values {values}; expected {encoding.list_values()}.")
    indices = encoding.to_indices(mask)
    if (indices == IGNORE).all():
        raise PipelineError(f"report.showcase: {path} marks every pixel as ignored. Remove `mask` from its entry.")
    return indices


def _read(path: Path, decode: Callable[[bytes], Decoded]) -> Decoded:
    try:
        return decode(path.read_bytes())
    except OSError as error:
        raise PipelineError(
            f"report.showcase: {path} cannot be read ({error.strerror}). Add the file, or remove its entry."
        ) from None
    except ImageError as error:
        raise PipelineError(f"report.showcase: {path} {error}.") from None
