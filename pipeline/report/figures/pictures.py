"""Photographs and masks as small images inside the page."""

from __future__ import annotations

import base64
import io
import re
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from pipeline import runs
from pipeline.errors import PipelineError
from pipeline.report import view
from pipeline.report.figures.error_kinds import GROUND, Errors
from pipeline.report.material import Mask, Photo
from pipeline.runs import SegmentationClass

LARGEST = 288  # px; larger images are shrunk to it, since the page shows none larger
QUALITY = 84  # of WebP; below, the edges that the page is about begin to ring
EXTREMES = (0.5, 99.5)  # per cent of a 16-bit image's values that are shown as black or white
TILE = 12  # px, of the checkerboard under a cut-out


def photograph(image: Photo, alt: str, caption: str = "") -> view.Picture:
    """A photograph as WebP."""
    return webp(_fitted(as_rgb(image), Image.Resampling.LANCZOS), alt, caption)


def mask(values: Mask, classes: tuple[SegmentationClass, ...], alt: str, caption: str = "") -> view.Picture:
    """A mask in its classes' colours as PNG; ignored pixels are transparent."""
    palette = [channels(item.colour) for item in classes]
    indices = np.where(values < len(classes), values, len(classes)).astype(np.uint8)
    return _png(indices, [*palette, (0, 0, 0)], len(classes), alt, caption)


def errors(found: Errors, alt: str, caption: str = "") -> view.Picture:
    """Draw the errors of a prediction as PNG; pixels that are right and not foreground are the ground."""
    kinds = (found.found, *found.wrong, found.ignored)
    indices = np.zeros(found.ignored.pixels.shape, dtype=np.uint8)
    for index, kind in enumerate(kinds, start=1):
        indices[kind.pixels] = index
    return _png(indices, [channels(color) for color in (GROUND, *(kind.color for kind in kinds))], None, alt, caption)


def opacity(mask: Mask, classes: tuple[SegmentationClass, ...]) -> npt.NDArray[np.float64]:
    """How much of each pixel (H x W, 0 to 1) a cut-out shows: all of the foreground, half of its edge, nothing else."""
    shares = np.zeros(256)
    shares[: len(classes)] = [1.0 if item.foreground else 0.5 if item.edge else 0.0 for item in classes]
    return np.asarray(shares[mask], dtype=np.float64)


def cut_out(image: Photo, shown: npt.NDArray[np.float64], alt: str, caption: str = "") -> view.Picture:
    """A photograph, each pixel as far as it is shown, over a checkerboard; large, so that the board stays sharp."""
    photo = as_rgb(image)
    scale = max(1, round(2 * LARGEST / max(photo.size)))
    size = (photo.width * scale, photo.height * scale)
    alpha = Image.fromarray((shown * 255).astype(np.uint8)).resize(size, Image.Resampling.BILINEAR)
    rows, columns = np.indices((size[1], size[0])) // (TILE * 2)
    board = Image.fromarray(np.where((rows + columns) % 2, 236, 214).astype(np.uint8)).convert("RGB")
    large = photo.resize(size, Image.Resampling.LANCZOS)
    return webp(_fitted(Image.composite(large, board, alpha), Image.Resampling.LANCZOS, 2 * LARGEST), alt, caption)


def grey(values: Mask, alt: str, caption: str = "") -> view.Picture:
    """A map of numbers from 0 to 255 (H x W) as grey PNG, the higher the lighter."""
    return _png(values, [(level, level, level) for level in range(256)], None, alt, caption)


def key(item: SegmentationClass) -> view.Key:
    """A class in a legend."""
    channels(item.colour)
    return view.Key(item.colour, item.name)


def as_rgb(image: Photo) -> Image.Image:
    """An image of any channels and depth as a person can look at it.

    Of three channels or more the first three, as red, green and blue; of fewer the first one, as grey. 16 bits are
    stretched over the image's own range without its extremes: cameras of 12 bits would give black squares, and so would
    a single hot pixel.
    """
    values = image if image.ndim == 3 else image[..., None]
    shown: npt.NDArray[Any] = values[..., :3] if values.shape[-1] >= 3 else np.repeat(values[..., :1], 3, axis=-1)
    if shown.dtype != np.uint8:
        low, high = np.percentile(shown, EXTREMES)
        shown = ((shown.astype(np.float64) - low) * (255 / max(high - low, 1))).clip(0, 255)
    return Image.fromarray(np.ascontiguousarray(shown, dtype=np.uint8))


def webp(picture: Image.Image, alt: str, caption: str, quality: int = QUALITY) -> view.Picture:
    """A picture as WebP, as it is."""
    buffer = io.BytesIO()
    picture.save(buffer, "WEBP", quality=quality, method=4)
    return view.Picture(_address("webp", buffer), alt, caption, picture.width, picture.height, crisp=False)


def channels(colour: str) -> tuple[int, int, int]:
    """Red, green and blue of a class's colour; raises `PipelineError` where it is none."""
    if not re.fullmatch(r"#[0-9a-fA-F]{6}", colour):
        raise PipelineError(
            f"{runs.PREPARED / runs.CLASSES} gives a class the colour {colour!r}; a colour reads #rrggbb. "
            "Run `pipeline prepare` again."
        )
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def _fitted(picture: Image.Image, resampling: Image.Resampling, largest: int = LARGEST) -> Image.Image:
    longest = max(picture.size)
    if longest <= largest:
        return picture
    size = (max(1, picture.width * largest // longest), max(1, picture.height * largest // longest))
    return picture.resize(size, resampling)


def _png(
    indices: Mask, colours: list[tuple[int, int, int]], transparent: int | None, alt: str, caption: str
) -> view.Picture:
    picture = _fitted(Image.fromarray(indices), Image.Resampling.NEAREST)
    picture.putpalette([channel for colour in colours for channel in colour])
    buffer = io.BytesIO()
    options = {} if transparent is None else {"transparency": transparent}
    picture.save(buffer, "PNG", optimize=True, **options)
    return view.Picture(_address("png", buffer), alt, caption, picture.width, picture.height, crisp=True)


def _address(kind: str, buffer: io.BytesIO) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
