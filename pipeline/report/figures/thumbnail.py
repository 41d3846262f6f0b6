"""Render small images with the outlines of their masks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
from PIL import Image

from pipeline.artifacts.prepared_data import SegmentationClass
from pipeline.imaging import IGNORE
from pipeline.report.figures import image_html
from pipeline.report.figures.error_kinds import is_foreground
from pipeline.report.images import EmbeddedImage, Frame, ImageArray, Mask

SIDE = 144  # px, longer side of a thumbnail
MAX_BYTES = 3_500  # per thumbnail of this side, so that 24 data URIs take less than 120 kB
# Fraction of the longer side and WebP quality, tried in this order until a thumbnail is small enough.
_STEPS = ((1, 75), (1, 60), (5 / 6, 60), (5 / 6, 45), (2 / 3, 45), (2 / 3, 25), (1 / 2, 10))
WIDTH = 2  # px, width of an outline; WebP stores color at half the resolution
TINT = 0.4  # opacity of the class's color over foreground
VEIL, VEIL_COLOR = 0.75, 128.0  # opacity and gray level over ignored pixels


def render_thumbnail(
    image: ImageArray,
    mask: Mask,
    classes: tuple[SegmentationClass, ...],
    alt: str,
    caption: str,
    frame: Frame | None = None,
    side: int = SIDE,
) -> EmbeddedImage:
    """Render a small WebP with outlines in the colors of the classes, tinted foreground and gray ignored pixels.

    The thumbnail has the proportions of the frame, or those of the image if there is no frame. Its longer side has at
    most `side` px, and its file at most `MAX_BYTES` scaled to this size.
    """
    rgb, indices = image_html.to_rgb(frame.crop(image) if frame else image), frame.crop(mask) if frame else mask
    aspect = frame.aspect if frame else rgb.width / rgb.height
    drawn: dict[float, Image.Image] = {}
    for fraction, quality in _STEPS:
        if fraction not in drawn:
            size = side * fraction
            shape = (max(1, round(size * min(aspect, 1))), max(1, round(size / max(aspect, 1))))
            drawn[fraction] = _draw_thumbnail(rgb, indices, classes, shape)
        found = image_html.encode_webp(drawn[fraction], alt, caption, quality=quality)
        if len(found.src) <= MAX_BYTES * (side / SIDE) ** 2 * 4 / 3:
            break
    return replace(found, stretched=image_html.find_display_range(image) is not None)


def _draw_thumbnail(
    rgb: Image.Image, mask: Mask, classes: tuple[SegmentationClass, ...], shape: tuple[int, int]
) -> Image.Image:
    pixels = np.asarray(rgb.resize(shape, Image.Resampling.LANCZOS), dtype=np.float64)
    indices = np.asarray(Image.fromarray(mask).resize(shape, Image.Resampling.NEAREST))
    colors = np.full((256, 3), VEIL_COLOR)
    colors[: len(classes)] = [item.rgb for item in classes]
    amount = np.zeros(indices.shape)
    amount[is_foreground(indices, classes)] = TINT
    amount[_find_outline(indices, classes)] = 1.0
    amount[indices == IGNORE] = VEIL
    mixed = pixels + (colors[indices] - pixels) * amount[..., None]
    return Image.fromarray(np.rint(mixed).astype(np.uint8))


def _find_outline(indices: npt.NDArray[np.uint8], classes: tuple[SegmentationClass, ...]) -> npt.NDArray[np.bool_]:
    """Find the outlines of regions: the pixels near another class of the same or a lower rank.

    Foreground has the highest rank, followed by boundary, ignored pixels and background.
    """
    rank = np.full(256, 1)  # the rank of ignored pixels
    rank[: len(classes)] = [3 if item.foreground else 2 if item.is_boundary else 0 for item in classes]
    ranks = rank[indices]
    outline = np.zeros(indices.shape, dtype=np.bool_)
    for distance in range(1, WIDTH + 1):
        ahead, behind = slice(distance, None), slice(None, -distance)
        for here, there in ((ahead, behind), (behind, ahead)):
            for pixels, near in ((np.s_[here, :], np.s_[there, :]), (np.s_[:, here], np.s_[:, there])):
                outline[pixels] |= (indices[near] != indices[pixels]) & (ranks[near] <= ranks[pixels])
    outline[indices == IGNORE] = False
    return outline
