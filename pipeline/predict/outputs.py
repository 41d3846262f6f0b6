"""Write further results of `pipeline predict`: overlays, foregrounds, and a table of class shares."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipeline.artifacts.prepared_data import SegmentationClass
from pipeline.atomic_io import write_text, write_with
from pipeline.imaging import IGNORE
from pipeline.inference.preprocessing import Probs
from pipeline.prepare.sample_ids import FORMULA_STARTS

OVERLAY_ALPHA = 0.5
JPEG_QUALITY = 92


@dataclass(frozen=True)
class ClassShares:
    """Row of the table for a segmented image."""

    file: str
    height: int  # px
    width: int  # px
    shares: tuple[float, ...]  # each class's share of the pixels


def write_overlay(
    path: Path, image: NDArray[np.uint8], labels: NDArray[np.uint8], classes: Sequence[SegmentationClass]
) -> None:
    """Write an RGB image to a JPEG file, with foreground and boundary tinted in the classes' colors."""
    tinted = Image.fromarray(tint_classes(image, labels, classes))
    write_with(path, lambda file: tinted.save(file, "JPEG", quality=JPEG_QUALITY))


def tint_classes(
    image: NDArray[np.uint8], labels: NDArray[np.uint8], classes: Sequence[SegmentationClass]
) -> NDArray[np.uint8]:
    """Tint the foreground and the boundary of an RGB image (H x W x 3) in the classes' colors."""
    alphas = [OVERLAY_ALPHA if item.foreground or item.is_boundary else 0.0 for item in classes]
    by_class, colors = np.zeros((IGNORE + 1, 1), np.float32), np.zeros((IGNORE + 1, 3), np.float32)  # IGNORE: no tint
    by_class[: len(classes), 0] = alphas
    colors[: len(classes)] = [item.rgb for item in classes]
    tinted = np.empty(image.shape, np.uint8)
    # Row by row, because a whole image in float32 would take four times its memory.
    for row, (pixels, line) in enumerate(zip(image, labels, strict=True)):
        tinted[row] = np.rint(pixels * (1 - by_class[line]) + colors[line] * by_class[line])
    return tinted


def write_foreground(path: Path, image: NDArray[np.uint8], opacity: NDArray[np.uint8]) -> None:
    """Write the foreground of an RGB image to a PNG file, with the given opacity (H x W, 0 to 255)."""
    write_with(path, lambda file: Image.fromarray(np.dstack([image, opacity])).save(file, "PNG"))


def compute_opacity(probs: Probs, classes: Sequence[SegmentationClass]) -> NDArray[np.uint8]:
    """Compute the opacity of the foreground (H x W, 0 to 255): its probability plus half of the boundary's.

    `probs` has the shape classes x H x W.
    """
    weights = np.array([item.opacity for item in classes], np.float32)
    opacity: NDArray[np.uint8] = np.rint(np.tensordot(weights, probs, 1).clip(0, 1) * 255).astype(np.uint8)
    return opacity


def escape_formula(file: str) -> str:
    """Return a file name that a spreadsheet does not evaluate as a formula."""
    return f"./{file}" if file.startswith(FORMULA_STARTS) else file


def write_table(path: Path, rows: Sequence[ClassShares], classes: Sequence[SegmentationClass]) -> None:
    """Write one row per image as CSV: file, height, width, share_<class>."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["file", "height", "width", *(f"share_{item.name}" for item in classes)])
    for row in rows:
        writer.writerow([escape_formula(row.file), row.height, row.width, *(f"{share:.6g}" for share in row.shares)])
    write_text(path, buffer.getvalue())
