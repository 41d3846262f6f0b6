"""Write the results of `pipeline predict`: masks, overlays, foregrounds, and a table of class shares."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageColor

from pipeline.artifacts.prepared_data import SegmentationClass
from pipeline.atomic_io import write_text, write_with
from pipeline.imaging.mask_values import MaskEncoding
from pipeline.inference.preprocessing import Preprocessing, Probs
from pipeline.prepare.sample_ids import FORMULA_STARTS

OVERLAY_ALPHA = 0.5
JPEG_QUALITY = 92


@dataclass(frozen=True)
class ClassShares:
    """A segmented image's row in the table."""

    file: str
    height: int
    width: int
    shares: tuple[float, ...]  # of the pixels, by class


def write_mask(
    path: Path, labels: NDArray[np.uint8], encoding: MaskEncoding, classes: Sequence[SegmentationClass]
) -> None:
    """Write a mask with the values or colors of the data's own masks; 8-bit gray has a palette to view it."""
    by_class = encoding.output_values
    values = by_class[labels]
    if encoding.are_colors:
        image = Image.fromarray(np.stack([values >> 16, values >> 8 & 255, values & 255], axis=-1).astype(np.uint8))
    elif by_class.max() > 255:
        image = Image.fromarray(values.astype(np.uint16))
    else:
        image = Image.fromarray(values.astype(np.uint8))
        palette = np.zeros((256, 3), np.uint8)
        palette[by_class] = [ImageColor.getrgb(item.color) for item in classes]
        image.putpalette(palette.tobytes())
    write_with(path, lambda file: image.save(file, "PNG", optimize=True))


def write_overlay(
    path: Path, image: NDArray[np.uint8], labels: NDArray[np.uint8], classes: Sequence[SegmentationClass]
) -> None:
    """Write an RGB image with the foreground and its boundary tinted in the classes' colors."""
    alphas = [OVERLAY_ALPHA if item.foreground or item.is_boundary else 0.0 for item in classes]
    alpha = np.array(alphas, np.float32)[labels][..., None]
    colors = np.array([ImageColor.getrgb(item.color) for item in classes], np.float32)[labels]
    blended = np.rint(image * (1 - alpha) + colors * alpha).astype(np.uint8)
    write_with(path, lambda file: Image.fromarray(blended).save(file, "JPEG", quality=JPEG_QUALITY))


def write_foreground(path: Path, image: NDArray[np.uint8], opacity: NDArray[np.uint8]) -> None:
    """Write the foreground of an RGB image, with the rest transparent."""
    write_with(path, lambda file: Image.fromarray(np.dstack([image, opacity])).save(file, "PNG"))


def compute_opacity(
    probs: Probs, preprocessing: Preprocessing, shape: tuple[int, ...], classes: Sequence[SegmentationClass]
) -> NDArray[np.uint8]:
    """Compute the opacity (H x W, 0 to 255) of a foreground: its probability, plus half of the boundary's.

    `probs` are over the network's input, classes x size x size; `shape` is that of the image, H x W, ...
    """
    weights = np.array([1.0 if item.foreground else 0.5 if item.is_boundary else 0.0 for item in classes], np.float32)
    opacity = np.empty(shape[:2], np.uint8)
    for rows, strip in preprocessing.restore_probs(probs, shape):
        opacity[rows] = np.rint(np.tensordot(weights, strip, 1).clip(0, 1) * 255)
    return opacity


def write_table(path: Path, rows: Sequence[ClassShares], classes: Sequence[SegmentationClass]) -> None:
    """Write one row per image as CSV: file, height, width, share_<class>."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["file", "height", "width", *(f"share_{item.name}" for item in classes)])
    for row in rows:
        # Spreadsheets would compute a formula.
        file = f"./{row.file}" if row.file.startswith(FORMULA_STARTS) else row.file
        writer.writerow([file, row.height, row.width, *(f"{share:.6f}" for share in row.shares)])
    write_text(path, buffer.getvalue())
