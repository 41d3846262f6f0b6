"""Convert shapes of annotation tools to polygons and run lengths as in COCO."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as rle

from pipeline.prepare.formats.outlines import decode_segmentation, find_segmentation_problem

_NUM_ELLIPSE_POINTS = 90
_PAIR = 2


class ShapeError(Exception):
    """A shape cannot be drawn. The message is a phrase that follows the name of the annotation."""


def flatten_points(points: object) -> list[list[float]]:
    """Convert [[x, y], ...] to a polygon as in COCO. Raise `ShapeError` if the points are not pairs of numbers."""
    if not isinstance(points, list) or not all(
        isinstance(point, list | tuple) and len(point) == _PAIR and all(type(value) in (int, float) for value in point)
        for point in points
    ):
        raise ShapeError("has points that are not pairs of numbers")
    if not points:
        raise ShapeError("has no points")
    return [[value for point in points for value in point]]


def make_rectangle(left: float, top: float, right: float, bottom: float, degrees: float = 0) -> list[list[float]]:
    """Make the polygon of a rectangle that is rotated clockwise about its center."""
    corners = [(left, top), (right, top), (right, bottom), (left, bottom)]
    return _rotate(corners, ((left + right) / 2, (top + bottom) / 2), degrees)


def make_ellipse(x: float, y: float, radius_x: float, radius_y: float, degrees: float = 0) -> list[list[float]]:
    """Approximate an ellipse that is rotated clockwise about its center by a polygon."""
    angles = [2 * math.pi * step / _NUM_ELLIPSE_POINTS for step in range(_NUM_ELLIPSE_POINTS)]
    points = [(x + radius_x * math.cos(angle), y + radius_y * math.sin(angle)) for angle in angles]
    return _rotate(points, (x, y), degrees)


def _rotate(points: Sequence[tuple[float, float]], center: tuple[float, float], degrees: float) -> list[list[float]]:
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    flat: list[float] = []
    for x, y in points:
        right, down = x - center[0], y - center[1]
        flat += (
            [x, y]
            if not degrees
            else [center[0] + right * cosine - down * sine, center[1] + right * sine + down * cosine]
        )
    return [flat]


def cut_holes(outer: list[list[float]], holes: Sequence[list[list[float]]], size: tuple[int, int]) -> Any:
    """Cut polygons out of another one. Without holes, the polygon is returned, else run lengths.

    Raises:
        ShapeError: A polygon is invalid.
    """
    if not holes:
        return outer
    for polygon in (outer, *holes):
        if mistake := find_segmentation_problem(polygon, size):
            raise ShapeError(mistake)
    mask = decode_segmentation(outer, *size)
    for hole in holes:
        mask &= ~decode_segmentation(hole, *size)
    return encode_mask(mask)


def place_mask(mask: NDArray[np.bool_], left: int, top: int, size: tuple[int, int]) -> Any:
    """Encode a mask whose upper left corner is at a position in an image. Parts outside the image are cut off."""
    height, width = size
    canvas = np.zeros(size, bool)
    rows, columns = slice(max(0, -top), max(0, height - top)), slice(max(0, -left), max(0, width - left))
    visible = mask[rows, columns]
    row, column = max(0, top), max(0, left)
    canvas[row : row + visible.shape[0], column : column + visible.shape[1]] = visible
    return encode_mask(canvas)


def encode_mask(mask: NDArray[np.bool_]) -> dict[str, Any]:
    """Encode a mask (H x W) as compressed RLE that can be stored as JSON."""
    encoded: Any = rle.encode(np.asfortranarray(mask, np.uint8))
    return {"size": list(mask.shape), "counts": encoded["counts"].decode("ascii")}


def decode_row_runs(counts: Sequence[int], height: int, width: int) -> NDArray[np.bool_]:
    """Decode run lengths that go row by row and begin with background.

    Raises:
        ShapeError: They do not add up to height x width, or are negative.
    """
    if any(count < 0 for count in counts) or sum(counts) != height * width:
        raise ShapeError(f"has run lengths that do not add up to {width} × {height}")
    values = np.repeat(np.arange(len(counts)) % 2 == 1, counts)
    return values.reshape(height, width)
