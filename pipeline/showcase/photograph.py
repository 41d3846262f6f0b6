"""A photograph from any camera as the network sees data, and what the network makes of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipeline import runs
from pipeline.errors import PipelineError
from pipeline.imaging.decode import fit_image, fit_mask, inner_part
from pipeline.imaging.errors import PictureError
from pipeline.imaging.mask_decoding import DecodedMask, decode_mask, orient_mask
from pipeline.imaging.mask_encoding import MaskValues
from pipeline.imaging.metadata import fits_either_way, read_orientation
from pipeline.inference.preprocessing import Preprocessing
from pipeline.params import ShowcaseImage
from pipeline.params.data.image_data import MaskOrientation

Decoded = TypeVar("Decoded")

LISTED = 8  # values in a complaint
PHOTO = 576  # px, the longest side at which the page shows a photograph


@dataclass(frozen=True, eq=False)
class Sight:
    """A photograph as the network gets it, and as the page shows it."""

    image: NDArray[Any]  # size x size x C
    truth: NDArray[np.uint8] | None  # size x size, class index or IGNORE; None where no mask is known
    inner: tuple[slice, slice]  # where in the square the photograph lies
    shown: NDArray[Any]  # the photograph in its own proportions, its longest side at most PHOTO


def look(
    photograph: ShowcaseImage,
    folder: Path,
    preprocessing: Preprocessing,
    values: MaskValues,
    mask_orientation: MaskOrientation | None = None,
) -> Sight:
    """Read a photograph and its mask.

    Args:
        photograph: their files' names.
        folder: where these lie.
        preprocessing: how images are prepared for the network.
        values: what the mask's values stand for.
        mask_orientation: which pixels of a turned photograph its mask covers.

    Raises:
        PipelineError: A file is missing, is not an image, or does not fit the other; or the mask fits either way.
    """
    size, resize = preprocessing.size, preprocessing.resize
    image: NDArray[Any] = _read(folder / photograph.file, preprocessing.read)
    truth = None
    if photograph.mask is not None:
        orientation = _read(folder / photograph.file, read_orientation)
        mask = _class_indices(folder / photograph.mask, image.shape[:2], values, orientation, mask_orientation)
        truth = fit_mask(mask, size, resize, outside=runs.IGNORE)
    return Sight(
        image=preprocessing.network_input(image),
        truth=truth,
        inner=inner_part(image.shape, size, resize),
        shown=_shown(image),
    )


def in_proportion(mask: NDArray[np.uint8], sight: Sight) -> NDArray[np.uint8]:
    """A mask (size x size) in the photograph's own proportions, its longest side `size` still."""
    high, wide = (max(1, round(side * len(mask) / max(sight.shown.shape[:2]))) for side in sight.shown.shape[:2])
    inner = Image.fromarray(mask[sight.inner])
    return np.asarray(inner.resize((wide, high), Image.Resampling.NEAREST), dtype=np.uint8)


def _shown(image: NDArray[Any]) -> NDArray[Any]:
    if max(image.shape[:2]) <= PHOTO:
        return image
    # `fit_image` knows each depth of pixels; the part of the square without the surroundings is the photograph.
    return np.ascontiguousarray(fit_image(image, PHOTO, "pad")[inner_part(image.shape, PHOTO, "pad")])


def _class_indices(
    path: Path,
    shape: tuple[int, ...],
    values: MaskValues,
    orientation: int,
    mask_orientation: MaskOrientation | None,
) -> NDArray[np.uint8]:
    decoded: DecodedMask = _read(path, lambda content: decode_mask(content, values.are_colours))
    mask = decoded.values
    if not decoded.has_orientation:
        if mask_orientation is None and fits_either_way(orientation, *shape):
            raise PipelineError(
                f"report.showcase: {path} may cover its photograph upright or as it is stored (EXIF orientation "
                f"{orientation}). Save the photograph upright, without EXIF, or write data.mask_orientation."
            )
        mask = orient_mask(mask, orientation) if mask_orientation == "stored" else mask
    if mask.shape != shape:
        raise PipelineError(
            f"report.showcase: {path} has {mask.shape[1]} × {mask.shape[0]} pixels, but its photograph {shape[1]} × "
            f"{shape[0]}; save it as large."
        )
    if not values.cover(mask):
        unknown = list(values.unknown(mask))
        more = f" and {len(unknown) - LISTED} more" if len(unknown) > LISTED else ""
        raise PipelineError(
            f"report.showcase: {path} holds the values {', '.join(unknown[:LISTED])}{more}; expected are "
            f"{values.listed()}."
        )
    indices = values.indices(mask)
    if (indices == runs.IGNORE).all():
        raise PipelineError(f"report.showcase: {path} judges no pixel; remove mask: from its entry.")
    return indices


def _read(path: Path, decode: Callable[[bytes], Decoded]) -> Decoded:
    try:
        return decode(path.read_bytes())
    except OSError as error:
        raise PipelineError(
            f"report.showcase: {path} cannot be read ({error.strerror}). Put it there, or remove its entry."
        ) from None
    except PictureError as error:
        raise PipelineError(f"report.showcase: {path} {error}.") from None
