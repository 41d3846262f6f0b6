"""Images with their true masks drawn into them, so small that a page can show many."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
from PIL import Image

from pipeline.report import view
from pipeline.report.figures import pictures
from pipeline.report.figures.error_kinds import is_foreground
from pipeline.report.figures.frames import Frame
from pipeline.report.material import Mask, Photo
from pipeline.runs import IGNORE, SegmentationClass

MOST_BYTES = 3_500  # of a picture's file: 24 of them, as text in an address, take less than 120 kB
# From the one that is wanted to the one that any picture fits with: px of the longer side, and WebP's quality.
_STEPS = ((144, 75), (144, 60), (120, 60), (120, 45), (96, 45), (96, 25), (72, 10))
WIDTH = 2  # px of an outline; WebP stores colours at half the resolution
TINT = 0.4  # how much of the foreground's colour lies over it
VEIL, VEIL_COLOUR = 0.75, 128.0  # grey over the pixels that count nowhere


def thumbnail(
    image: Photo,
    mask: Mask,
    classes: tuple[SegmentationClass, ...],
    alt: str,
    caption: str,
    frame: Frame | None = None,
) -> view.Picture:
    """A small WebP: regions outlined from inside in their classes' colours, foreground tinted, what is ignored grey.

    Args:
        image: H x W x C, 8 or 16 bits.
        mask: H x W, class indices or IGNORE.
        classes: their colours.
        alt: what is said to who cannot see it.
        caption: what stands below it.
        frame: the original's proportions, which it is drawn in; None: those of the image.
    """
    photo, indices = pictures.as_rgb(frame.crop(image) if frame else image), frame.crop(mask) if frame else mask
    aspect = frame.aspect if frame else photo.width / photo.height
    for size, quality in _STEPS:
        shape = (max(1, round(size * min(aspect, 1))), max(1, round(size / max(aspect, 1))))
        found = pictures.webp(_drawn(photo, indices, classes, shape), alt, caption, quality)
        if len(found.src) <= MOST_BYTES * 4 / 3:
            break
    return replace(found, stretched=pictures.display_range(image) is not None)


def _drawn(
    photo: Image.Image, mask: Mask, classes: tuple[SegmentationClass, ...], shape: tuple[int, int]
) -> Image.Image:
    pixels = np.asarray(photo.resize(shape, Image.Resampling.LANCZOS), dtype=np.float64)
    indices = np.asarray(Image.fromarray(mask).resize(shape, Image.Resampling.NEAREST))
    colours = np.full((256, 3), VEIL_COLOUR)
    colours[: len(classes)] = [pictures.channels(item.colour) for item in classes]
    amount = np.zeros(indices.shape)
    amount[is_foreground(indices, classes)] = TINT
    amount[_outline(indices, classes)] = 1.0
    amount[indices == IGNORE] = VEIL
    mixed = pixels + (colours[indices] - pixels) * amount[..., None]
    return Image.fromarray(np.rint(mixed).astype(np.uint8))


def _outline(indices: npt.NDArray[np.uint8], classes: tuple[SegmentationClass, ...]) -> npt.NDArray[np.bool_]:
    """Pixels with another class near them; of two classes only the one that is more what the picture is of."""
    rank = np.full(256, 1)  # of what is ignored
    rank[: len(classes)] = [3 if item.foreground else 2 if item.edge else 0 for item in classes]
    size = np.array(indices.shape)
    around, outline = np.pad(indices, WIDTH, mode="edge"), np.zeros(indices.shape, dtype=np.bool_)
    for step in range(-WIDTH, WIDTH + 1):
        for offset in ((step, 0), (0, step)):
            (top, left), (bottom, right) = np.add(offset, WIDTH), np.add(offset, WIDTH) + size
            other = around[top:bottom, left:right]
            outline |= (other != indices) & (rank[other] <= rank[indices])
    outline &= indices != IGNORE
    return outline
