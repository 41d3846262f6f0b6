"""Photographs and masks as small images inside the page."""

from __future__ import annotations

import base64
import io
import re
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from pipeline import runs
from pipeline.errors import PipelineError
from pipeline.report import view
from pipeline.report.figures.error_kinds import GROUND, Errors
from pipeline.report.figures.frames import LARGEST, Frame
from pipeline.report.material import Mask, Photo
from pipeline.runs import SegmentationClass

LARGEST_CUT_OUT = 576  # px
QUALITY = 84  # of WebP; below, the edges that the page is about begin to ring
EXTREMES = (0.5, 99.5)  # percentiles of a 16-bit image's values that are shown as black and white
EXTREMES_8_BIT = (0.01, 99.99)  # nearly all: a few bright objects in an 8-bit image can be what it is about
DARK = 85  # of 255: 8-bit images with no brighter value are stretched, ...
FLAT = 64  # ... and those whose values span fewer levels, ...
EMPTY = 4  # ... but not those that span fewer than these: they show nothing
MIN_SPAN = 16  # levels that are stretched to the full range at least: fewer would show noise as if it were structure
TILE = 12  # px, of the checkerboard under a cut-out


def photograph(image: Photo, alt: str, caption: str = "", frame: Frame | None = None) -> view.Picture:
    """A photograph as WebP."""
    largest = frame.largest if frame else LARGEST
    picture = webp(_fitted(as_rgb(image), Image.Resampling.LANCZOS, largest), alt, caption)
    return _framed(replace(picture, stretched=display_range(image) is not None), frame)


def mask(
    values: Mask,
    classes: tuple[SegmentationClass, ...],
    alt: str,
    caption: str = "",
    frame: Frame | None = None,
) -> view.Picture:
    """A mask in its classes' colours as PNG; ignored pixels are transparent."""
    palette = [channels(item.colour) for item in classes]
    indices = np.where(values < len(classes), values, len(classes)).astype(np.uint8)
    return _png(indices, [*palette, (0, 0, 0)], len(classes), alt, caption, frame)


def errors(found: Errors, alt: str, caption: str = "", frame: Frame | None = None) -> view.Picture:
    """Draw the errors of a prediction as PNG; pixels that are right and not foreground are the ground."""
    kinds = (found.found, *found.wrong, found.ignored)
    indices = np.zeros(found.ignored.pixels.shape, dtype=np.uint8)
    for index, kind in enumerate(kinds, start=1):
        indices[kind.pixels] = index
    colors = [channels(color) for color in (GROUND, *(kind.color for kind in kinds))]
    return _png(indices, colors, None, alt, caption, frame)


def opacity(mask: Mask, classes: tuple[SegmentationClass, ...]) -> npt.NDArray[np.float64]:
    """How much of each pixel (H x W, 0 to 1) a cut-out shows: all of the foreground, half of its edge, nothing else."""
    shares = np.zeros(256)
    shares[: len(classes)] = [1.0 if item.foreground else 0.5 if item.edge else 0.0 for item in classes]
    return np.asarray(shares[mask], dtype=np.float64)


def cut_out(
    image: Photo, shown: npt.NDArray[np.float64], alt: str, caption: str = "", frame: Frame | None = None
) -> view.Picture:
    """A photograph, each pixel as far as it is shown, over a checkerboard; large, so that the board stays sharp."""
    photo = as_rgb(image)
    scale = max(1, round(LARGEST_CUT_OUT / max(photo.size)))
    size = (photo.width * scale, photo.height * scale)
    alpha = Image.fromarray((shown * 255).astype(np.uint8)).resize(size, Image.Resampling.BILINEAR)
    rows, columns = np.indices((size[1], size[0])) // (TILE * 2)
    board = Image.fromarray(np.where((rows + columns) % 2, 236, 214).astype(np.uint8)).convert("RGB")
    large = photo.resize(size, Image.Resampling.LANCZOS)
    composite = _fitted(Image.composite(large, board, alpha), Image.Resampling.LANCZOS, LARGEST_CUT_OUT)
    return _framed(webp(composite, alt, caption), frame)


def grey(values: Mask, alt: str, caption: str = "") -> view.Picture:
    """A map of numbers from 0 to 255 (H x W) as grey PNG, the higher the lighter."""
    return _png(values, [(level, level, level) for level in range(256)], None, alt, caption)


def key(item: SegmentationClass) -> view.Key:
    """A class in a legend."""
    channels(item.colour)
    return view.Key(item.colour, item.name)


def as_rgb(image: Photo) -> Image.Image:
    """An image of any channels and depth as a person can look at it.

    Of three channels or more the first three, as red, green and blue; of fewer the first one, as gray. Stretched over
    its `display_range`, if it has one.
    """
    shown = _shown_channels(image)
    if (limits := display_range(image)) is not None:
        low, high = limits
        shown = ((shown.astype(np.float64) - low) * (255 / (high - low))).clip(0, 255)
    return Image.fromarray(np.ascontiguousarray(shown, dtype=np.uint8))


def display_range(image: Photo) -> tuple[float, float] | None:
    """Return the values to show as black and white; None if an image is shown as it is stored.

    16 bits are always stretched, without their extremes: cameras of 12 bits would give black squares, and so would a
    single hot pixel. 8 bits are stretched if the image is dark or flat.
    """
    shown = _shown_channels(image)
    if shown.dtype != np.uint8:
        low, high = np.percentile(shown, EXTREMES)
        return float(low), max(float(high), float(low) + 1)
    low, high = np.percentile(shown, EXTREMES_8_BIT)
    if high - low < EMPTY or (high > DARK and high - low >= FLAT):
        return None
    return float(low), max(float(high), float(low) + MIN_SPAN)


def _shown_channels(image: Photo) -> npt.NDArray[Any]:
    values = image if image.ndim == 3 else image[..., None]
    return values[..., :3] if values.shape[-1] >= 3 else np.repeat(values[..., :1], 3, axis=-1)


def webp(picture: Image.Image, alt: str, caption: str, quality: int = QUALITY) -> view.Picture:
    """A picture as WebP, as it is."""
    buffer = io.BytesIO()
    picture.save(buffer, "WEBP", quality=quality, method=4)
    return view.Picture(
        _address("webp", buffer), alt, caption, *picture.size, crisp=False, aspect=picture.width / picture.height
    )


def channels(colour: str) -> tuple[int, int, int]:
    """Red, green and blue of a class's colour; raises `PipelineError` where it is none."""
    if not re.fullmatch(r"#[0-9a-fA-F]{6}", colour):
        raise PipelineError(
            f"{runs.PREPARED / runs.CLASSES} gives a class the colour {colour!r}; a colour reads #rrggbb. "
            "Run `pipeline prepare` again."
        )
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def _framed(picture: view.Picture, frame: Frame | None) -> view.Picture:
    return picture if frame is None else replace(picture, aspect=frame.aspect)


def _fitted(picture: Image.Image, resampling: Image.Resampling, largest: int) -> Image.Image:
    longest = max(picture.size)
    if longest <= largest:
        return picture
    size = (max(1, picture.width * largest // longest), max(1, picture.height * largest // longest))
    return picture.resize(size, resampling)


def _png(
    indices: Mask,
    colours: list[tuple[int, int, int]],
    transparent: int | None,
    alt: str,
    caption: str,
    frame: Frame | None = None,
) -> view.Picture:
    largest = frame.largest if frame else LARGEST
    picture = _fitted(Image.fromarray(indices), Image.Resampling.NEAREST, largest)
    picture.putpalette([channel for colour in colours for channel in colour])
    buffer = io.BytesIO()
    options = {} if transparent is None else {"transparency": transparent}
    picture.save(buffer, "PNG", optimize=True, **options)
    found = view.Picture(
        _address("png", buffer), alt, caption, *picture.size, crisp=True, aspect=picture.width / picture.height
    )
    return _framed(found, frame)


def _address(kind: str, buffer: io.BytesIO) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
