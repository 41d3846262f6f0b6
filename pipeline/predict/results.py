"""What is made of a picture: its mask, an overlay, a cut-out, and how much of it each class has."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipeline.atomic_io import write_bytes
from pipeline.imaging.mask_encoding import MaskValues
from pipeline.inference.preprocessing import Preprocessing, Shares
from pipeline.runs import SegmentationClass

TINT = 0.5  # of an overlay's colour
QUALITY = 92  # of JPEG


@dataclass(frozen=True, eq=False)
class Segmented:
    """A picture's pixels sorted into classes."""

    labels: NDArray[np.uint8]  # H x W, class index
    opacity: NDArray[np.uint8]  # H x W, how much of a pixel belongs to what the picture is of

    @classmethod
    def of(
        cls, shares: Shares, preprocessing: Preprocessing, shape: tuple[int, ...], classes: Sequence[SegmentationClass]
    ) -> Segmented:
        """From the probabilities over the square (classes x size x size); of the edge's, half belongs to it."""
        weights = np.array([1.0 if item.foreground else 0.5 if item.edge else 0.0 for item in classes], np.float32)
        labels, opacity = np.empty(shape[:2], np.uint8), np.empty(shape[:2], np.uint8)
        for rows, strip in preprocessing.at_full_size(shares, shape):
            labels[rows] = strip.argmax(axis=0)
            opacity[rows] = np.rint(np.tensordot(weights, strip, 1).clip(0, 1) * 255)
        return cls(labels, opacity)

    def class_shares(self, classes: int) -> NDArray[np.float64]:
        """How much of the picture each class has, 0 to 1."""
        return np.bincount(self.labels.ravel(), minlength=classes) / self.labels.size


def write_mask(path: Path, labels: NDArray[np.uint8], values: MaskValues, classes: Sequence[SegmentationClass]) -> None:
    """Write the mask as masks of the data are: its values or colours; grey values of 8 bits are shown in colour."""
    by_class = values.written
    found = by_class[labels]
    if values.are_colours:
        picture = Image.fromarray(np.stack([found >> 16, found >> 8 & 255, found & 255], axis=-1).astype(np.uint8))
    elif by_class.max() > 255:
        picture = Image.fromarray(found.astype(np.uint16))
    else:
        picture = Image.fromarray(found.astype(np.uint8))
        palette = np.zeros((256, 3), np.uint8)
        palette[by_class] = [_rgb(item.colour) for item in classes]
        picture.putpalette(palette.tobytes())
    _save(path, picture, "PNG", optimize=True)


def write_overlay(
    path: Path, image: NDArray[Any], labels: NDArray[np.uint8], classes: Sequence[SegmentationClass]
) -> None:
    """Write the picture with what it is of, and its edge, tinted in the classes' colours."""
    tints = np.array([TINT if item.foreground or item.edge else 0.0 for item in classes], np.float32)[labels][..., None]
    colours = np.array([_rgb(item.colour) for item in classes], np.float32)[labels]
    _save(
        path, Image.fromarray(np.rint(image * (1 - tints) + colours * tints).astype(np.uint8)), "JPEG", quality=QUALITY
    )


def write_cutout(path: Path, image: NDArray[Any], opacity: NDArray[np.uint8]) -> None:
    """Write what the picture is of, the rest transparent."""
    _save(path, Image.fromarray(np.dstack([image, opacity])), "PNG")


def _rgb(colour: str) -> tuple[int, ...]:
    return tuple(bytes.fromhex(colour[1:]))


def _save(path: Path, picture: Image.Image, kind: str, **options: Any) -> None:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    write_bytes(path, buffer.getbuffer())
