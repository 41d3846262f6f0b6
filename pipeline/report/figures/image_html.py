"""Render images, masks and errors as data URIs for the page."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from matplotlib.colors import to_hex
from PIL import Image, ImageColor

from pipeline.artifacts.prepared_data import SegmentationClass
from pipeline.report.figures.error_kinds import GROUND, PredictionErrors
from pipeline.report.images import MAX_SIZE, EmbeddedImage, Frame, ImageArray, Mask

MAX_CUTOUT_SIZE = 576  # px, longer side
QUALITY = 84  # of WebP; with a lower quality, edges show artifacts
LIMITS_16_BIT = (0.5, 99.5)  # percentiles of a 16-bit image that are shown as black and white
LIMITS_8_BIT = (0.01, 99.99)  # percentiles of an 8-bit image, whose few bright pixels may be the objects
MAX_DARK = 85  # of 255; 8-bit images are stretched if no pixel is brighter
MIN_CONTRAST = 64  # gray levels; 8-bit images that span fewer are stretched
MIN_CONTENT = 4  # gray levels; 8-bit images that span fewer have no content and are not stretched
MIN_SPAN = 16  # gray levels; fewer are not stretched to the full range, because that would amplify noise
TILE = 12  # px, half the side of a square of the checkerboard behind a cut-out


def render_image(image: ImageArray, alt: str, caption: str = "", frame: Frame | None = None) -> EmbeddedImage:
    """Render an image as WebP."""
    shown = _shrink(to_rgb(image), Image.Resampling.LANCZOS, frame.max_size if frame else MAX_SIZE)
    return replace(encode_webp(shown, alt, caption, frame), stretched=find_display_range(image) is not None)


def render_mask(
    values: Mask, classes: tuple[SegmentationClass, ...], alt: str, caption: str = "", frame: Frame | None = None
) -> EmbeddedImage:
    """Render a mask in the colors of its classes, with transparent ignored pixels."""
    palette = [item.rgb for item in classes]
    indices = np.where(values < len(classes), values, len(classes)).astype(np.uint8)
    return _encode_lossless(indices, [*palette, (0, 0, 0)], alt, caption, frame, transparent=len(classes))


def render_errors(found: PredictionErrors, alt: str, caption: str = "", frame: Frame | None = None) -> EmbeddedImage:
    """Render the errors of a prediction, in which correct pixels outside the foreground are light."""
    kinds = (found.found, *found.wrong, found.ignored)
    indices = np.zeros(found.ignored.pixels.shape, dtype=np.uint8)
    for index, kind in enumerate(kinds, start=1):
        indices[kind.pixels] = index
    colors = [ImageColor.getrgb(color) for color in (GROUND, *(kind.color for kind in kinds))]
    return _encode_lossless(indices, colors, alt, caption, frame)


def compute_opacity(mask: Mask, classes: tuple[SegmentationClass, ...]) -> npt.NDArray[np.float64]:
    """Compute the opacity of each pixel (H x W, 0 to 1) in a cut-out: foreground 1, boundary 0.5, others 0."""
    shares = np.zeros(256)
    shares[: len(classes)] = [item.opacity for item in classes]
    return np.asarray(shares[mask], dtype=np.float64)


def render_cutout(
    image: ImageArray, shown: npt.NDArray[np.float64], alt: str, caption: str = "", frame: Frame | None = None
) -> EmbeddedImage:
    """Render an image over a checkerboard, with the opacity `shown` of each pixel (H x W, 0 to 1)."""
    rgb = to_rgb(image)
    scale = max(1, round(MAX_CUTOUT_SIZE / max(rgb.size)))
    size = (rgb.width * scale, rgb.height * scale)
    alpha = Image.fromarray((shown * 255).astype(np.uint8)).resize(size, Image.Resampling.BILINEAR)
    rows, columns = np.indices((size[1], size[0])) // (TILE * 2)
    board = Image.fromarray(np.where((rows + columns) % 2, 236, 214).astype(np.uint8)).convert("RGB")
    large = rgb.resize(size, Image.Resampling.LANCZOS)
    composite = _shrink(Image.composite(large, board, alpha), Image.Resampling.LANCZOS, MAX_CUTOUT_SIZE)
    return encode_webp(composite, alt, caption, frame)


def render_gray(values: Mask, alt: str, caption: str = "") -> EmbeddedImage:
    """Render a feature map (H x W, 0 to 255) in gray."""
    return _encode_lossless(values, [(level, level, level) for level in range(256)], alt, caption)


def render_heatmap(
    values: npt.NDArray[np.float32], highest: float, alt: str, caption: str = "", frame: Frame | None = None
) -> EmbeddedImage:
    """Render numbers from 0 to `highest` (H x W) in the colors of `get_heat_color`."""
    levels = np.rint((values / highest).clip(0, 1) * 255).astype(np.uint8)
    return _encode_lossless(levels, _list_heat_colors(), alt, caption, frame)


def get_heat_color(share: float) -> str:
    """Return the color of a number by its share of the highest one: from light for 0 to dark for 1."""
    return to_hex(colormaps["magma_r"](share))


@cache
def _list_heat_colors() -> tuple[tuple[int, ...], ...]:
    return tuple(ImageColor.getrgb(get_heat_color(level / 255)) for level in range(256))


def to_rgb(image: ImageArray) -> Image.Image:
    """Convert an image with any number of channels and any bit depth to RGB for display.

    The first three channels are shown as red, green and blue. With fewer channels, the first one is shown in gray. The
    contrast is increased if `find_display_range` returns a range.
    """
    shown = _select_channels(image)
    if (limits := find_display_range(image)) is not None:
        low, high = limits
        shown = ((shown.astype(np.float64) - low) * (255 / (high - low))).clip(0, 255)
    return Image.fromarray(np.ascontiguousarray(shown, dtype=np.uint8))


def find_display_range(image: ImageArray) -> tuple[float, float] | None:
    """Find the values that are shown as black and white; None if an image is shown as stored.

    16-bit images are always stretched, because images from 12-bit cameras would be nearly black. Percentiles are used
    because of hot pixels. 8-bit images are stretched if they are dark or have low contrast.
    """
    shown = _select_channels(image)
    if shown.dtype != np.uint8:
        low, high = np.percentile(shown, LIMITS_16_BIT)
        return float(low), max(float(high), float(low) + 1)
    low, high = np.percentile(shown, LIMITS_8_BIT)
    if high - low < MIN_CONTENT or (high > MAX_DARK and high - low >= MIN_CONTRAST):
        return None
    return float(low), max(float(high), float(low) + MIN_SPAN)


def _select_channels(image: ImageArray) -> npt.NDArray[Any]:
    values = image if image.ndim == 3 else image[..., None]
    return values[..., :3] if values.shape[-1] >= 3 else np.repeat(values[..., :1], 3, axis=-1)


def encode_webp(
    image_file: Image.Image, alt: str, caption: str, frame: Frame | None = None, quality: int = QUALITY
) -> EmbeddedImage:
    """Encode an image as WebP, to be shown in the proportions of the frame if there is one."""
    return _embed(image_file, alt, caption, frame, quality=quality)


def _shrink(image_file: Image.Image, resampling: Image.Resampling, largest: int) -> Image.Image:
    longest = max(image_file.size)
    if longest <= largest:
        return image_file
    size = (max(1, image_file.width * largest // longest), max(1, image_file.height * largest // longest))
    return image_file.resize(size, resampling)


def _encode_lossless(
    indices: Mask,
    colors: Sequence[tuple[int, ...]],
    alt: str,
    caption: str,
    frame: Frame | None = None,
    transparent: int | None = None,
) -> EmbeddedImage:
    """Encode indices into colors as lossless WebP, which is smaller than PNG and takes a fifth of the time.

    The index `transparent`, if given, has no color.
    """
    image_file = _shrink(Image.fromarray(indices), Image.Resampling.NEAREST, frame.max_size if frame else MAX_SIZE)
    image_file.putpalette([channel for color in colors for channel in color])
    if transparent is not None:
        image_file.info["transparency"] = transparent
    return _embed(image_file, alt, caption, frame, lossless=True)


def _embed(
    image_file: Image.Image, alt: str, caption: str, frame: Frame | None, lossless: bool = False, **options: Any
) -> EmbeddedImage:
    buffer = io.BytesIO()
    image_file.save(buffer, "webp", lossless=lossless, method=2, **options)
    src = f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
    aspect = frame.aspect if frame else image_file.width / image_file.height
    return EmbeddedImage(src, alt, caption, *image_file.size, is_mask=lossless, aspect=aspect)
