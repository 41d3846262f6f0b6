"""A contact sheet: thumbnails of images with their masks, by split."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageColor
from scipy import ndimage

from pipeline.artifacts.prepared_data import SPLITS, SegmentationClass
from pipeline.imaging import IGNORE
from pipeline.report.context import ReportContext
from pipeline.report.figures import image_html
from pipeline.report.figures.error_kinds import is_foreground
from pipeline.report.formatting import SPLIT_NAMES
from pipeline.report.view_models import EmbeddedImage, Frame, ImageArray, Mask

MAX_IMAGES = 24


@dataclass(frozen=True)
class ContactSheet:
    """Thumbnails of each split, and how they are drawn."""

    splits: tuple[tuple[str, tuple[EmbeddedImage, ...]], ...]  # name of the split, and images with ids as captions
    caption: str
    is_stretched: bool  # whether the contrast of an image is increased


def build_contact_sheet(context: ReportContext) -> ContactSheet:
    """Build the contact sheet, reading only the images on it.

    Raises:
        PipelineError: An array or the classes cannot be read.
    """
    rows = select_rows({split: len(context.sample_ids[split]) for split in SPLITS if split in context.sample_ids})
    splits, masks = [], []
    sizes, channels = set[tuple[int, int]](), 0
    for split, places in rows.items():
        thumbnails = []
        for row in places:
            name, (image, mask, frame) = context.sample_ids[split][row], context.read_sample(split, row)
            alt = f"{name} with the outlines of its mask"
            thumbnails.append(render_thumbnail(image, mask, context.dataset.classes, alt, name, frame))
            masks.append((mask, frame))
            height, width, channels = image.shape
            sizes.add((height, width))
        splits.append((SPLIT_NAMES[split].capitalize(), tuple(thumbnails)))
    return ContactSheet(
        splits=tuple(splits),
        caption=_caption(sizes, channels, masks),
        is_stretched=any(thumbnail.stretched for _, thumbnails in splits for thumbnail in thumbnails),
    )


def select_rows(counts: Mapping[str, int]) -> dict[str, list[int]]:
    """Select up to `MAX_IMAGES` evenly spaced rows, the same number in each split if possible."""
    shown = dict.fromkeys(counts, 0)
    for _ in range(min(MAX_IMAGES, sum(counts.values()))):
        incomplete = [split for split in counts if shown[split] < counts[split]]
        shown[min(incomplete, key=lambda split: shown[split])] += 1
    return {
        split: [(2 * place + 1) * counts[split] // (2 * count) for place in range(count)]
        for split, count in shown.items()
    }


def _caption(sizes: Collection[tuple[int, int]], channels: int, masks: list[tuple[Mask, Frame]]) -> str:
    """Describe how images of these sizes (height, width) are drawn, and which of their channels are shown."""
    ordered = sorted(sizes, key=lambda size: (size[0] * size[1], size))
    extremes = " to ".join(f"{width} × {height}" for height, width in dict.fromkeys((ordered[0], ordered[-1])))
    fitted = {"stretch": ", here in the proportions of the originals", "letterbox": ", here without padding"}
    reshaped = [fitted[frame.resize] for _, frame in masks if frame.height != frame.width][:1]
    sentences = [
        f"As prepared, {extremes} pixels{''.join(reshaped)}. Each region is outlined in its class’s color; "
        "foreground is tinted."
    ]
    if any((frame.crop(mask) == IGNORE).any() for mask, frame in masks):
        sentences.append("Gray pixels are ignored.")
    if channels == 2:
        sentences.append("The first of two channels is shown in gray.")
    elif channels > 3:
        sentences.append(f"The first three of {channels} channels are shown as red, green and blue.")
    return " ".join(sentences)


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
    for fraction, quality in _STEPS:
        size = side * fraction
        shape = (max(1, round(size * min(aspect, 1))), max(1, round(size / max(aspect, 1))))
        found = image_html.encode_webp(_draw_thumbnail(rgb, indices, classes, shape), alt, caption, quality=quality)
        if len(found.src) <= MAX_BYTES * (side / SIDE) ** 2 * 4 / 3:
            break
    return replace(found, stretched=image_html.find_display_range(image) is not None)


def _draw_thumbnail(
    rgb: Image.Image, mask: Mask, classes: tuple[SegmentationClass, ...], shape: tuple[int, int]
) -> Image.Image:
    pixels = np.asarray(rgb.resize(shape, Image.Resampling.LANCZOS), dtype=np.float64)
    indices = np.asarray(Image.fromarray(mask).resize(shape, Image.Resampling.NEAREST))
    colors = np.full((256, 3), VEIL_COLOR)
    colors[: len(classes)] = [ImageColor.getrgb(item.color) for item in classes]
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
    around = np.zeros((2 * WIDTH + 1, 2 * WIDTH + 1), dtype=np.bool_)
    around[WIDTH, :] = around[:, WIDTH] = True
    outline = np.zeros(indices.shape, dtype=np.bool_)
    for other in np.unique(indices):
        is_near = ndimage.binary_dilation(indices == other, around)
        outline |= is_near & (indices != other) & (indices != IGNORE) & (rank[other] <= rank[indices])
    return outline
