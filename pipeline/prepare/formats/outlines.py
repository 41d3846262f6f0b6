"""Validate and draw the polygons and run lengths of COCO annotations.

pycocotools converts polygons to run lengths. Its `decode` is not used, because it leaves pixels uninitialized if run
lengths do not add up to the image size, is slow for many objects in large images, and emits warnings with numpy 2.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as rle

from pipeline.imaging import IGNORE

# px; pycocotools allocates 40 bytes per px of a polygon's outline, even outside the image, and uses 32-bit numbers.
_MAX_COORDINATE = 1_000_000


def find_segmentation_problem(segmentation: object, size: tuple[int, int] | None) -> str:
    """Describe why a segmentation cannot be drawn, as a phrase that follows the annotation. Return "" if it can.

    Args:
        segmentation: Value of `segmentation` in the annotation.
        size: Height and width of the image in px; None if unknown.
    """
    if isinstance(segmentation, dict):
        return _find_rle_problem(segmentation, size)
    if not isinstance(segmentation, list):
        return "is neither a list of polygons nor RLE"
    return next((mistake for polygon in segmentation if (mistake := _find_polygon_problem(polygon))), "")


def to_rle(segmentation: Any, height: int, width: int) -> Any:
    """Encode a valid segmentation as compressed RLE with pycocotools."""
    if isinstance(segmentation, list):
        return rle.merge(rle.frPyObjects(segmentation, height, width))
    return rle.frPyObjects(segmentation, height, width) if isinstance(segmentation["counts"], list) else segmentation


def decode_segmentation(segmentation: Any, height: int, width: int) -> NDArray[np.bool_]:
    """Decode a valid segmentation to a binary mask (height x width)."""
    counts = _decode_counts(to_rle(segmentation, height, width)["counts"])
    return np.repeat(np.arange(counts.size) % 2 == 1, counts).reshape(width, height).T


@dataclass(frozen=True, eq=False)
class DrawnAnnotations:
    """An image's annotations, drawn from the largest to the smallest, so that small objects are on top.

    If annotations have layers, higher layers are on top. If two annotations of the same layer have the same area, the
    one with the higher id is on top.
    """

    classes: NDArray[np.uint8]  # H x W, class indices and IGNORE
    # H x W, number of the object at each pixel; 0 is background. Objects without a visible pixel have no number; the
    # others are numbered 1, 2, ... in the order of their ids. Annotations with the same `object` are one object
    numbers: NDArray[np.int32]


def draw_annotations(
    annotations: str,
    height: int,
    width: int,
    index_of: Mapping[int, int],
    background: int,
    objects: Collection[int],
    crowds_are_objects: bool = False,
) -> DrawnAnnotations:
    """Draw an image's annotations.

    Args:
        annotations: JSON of `AnnotatedImage.annotations`.
        height: Height of the image in px.
        width: Width of the image in px.
        index_of: Class index, or IGNORE, of each category that occurs.
        background: Class index of pixels without annotation.
        objects: Indices of the classes whose annotations are objects.
        crowds_are_objects: Whether to draw crowds (`iscrowd`) like all other annotations. By default, their pixels are
            ignored, except where an object covers them.
    """
    layers = []
    for entry in json.loads(annotations):
        is_crowd = entry["iscrowd"] and not crowds_are_objects
        starts, ends = _find_runs(to_rle(entry["segmentation"], height, width)["counts"])
        area = int((ends - starts).sum())  # the area in the file may be that of the bounding box
        index = IGNORE if is_crowd else index_of[entry["category_id"]]
        order = (not is_crowd, entry.get("layer", 0), -area, entry["id"])
        layers.append((order, index, entry.get("object"), starts, ends))
    layers.sort(key=itemgetter(0))
    canvas = np.zeros(height * width, np.int32)  # place of the visible layer from 1, column by column as in RLE
    for place, (*_, starts, ends) in enumerate(layers, start=1):
        # The time is proportional to the outline. With a mask of the whole image per object, 1000 objects in
        # 3000 x 4000 px would take 70 times as long.
        for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
            canvas[start:end] = place
    classes = np.array([background, *(index for _, index, *_ in layers)], np.uint8)
    is_visible = np.bincount(canvas, minlength=len(classes)) > 0
    visible = [place for place, (_, index, *_) in enumerate(layers, start=1) if is_visible[place] and index in objects]
    visible.sort(key=lambda place: layers[place - 1][0][-1])  # the sort is stable: equal ids keep the drawing order
    numbers = np.zeros(len(classes), np.int32)
    number_of: dict[tuple[str, int], int] = {}
    for place in visible:
        whole = layers[place - 1][2]
        key = ("annotation", place) if whole is None else ("object", whole)
        numbers[place] = number_of.setdefault(key, len(number_of) + 1)
    placed = np.ascontiguousarray(canvas.reshape(width, height).T)
    return DrawnAnnotations(classes[placed], numbers[placed])


def measure_areas(outlines: Sequence[str | bytes]) -> tuple[int, int]:
    """Measure the sum of the areas of an image's annotations, and the area of their union, in px.

    Args:
        outlines: Compressed run lengths.
    """
    if not outlines:
        return 0, 0
    starts, ends = (np.concatenate(places) for places in zip(*map(_find_runs, outlines), strict=True))
    places = np.concatenate([starts, ends])
    order = np.argsort(places, kind="stable")
    depth = np.cumsum(np.repeat([1, -1], len(starts))[order])  # number of annotations from each place on
    union = np.diff(places[order])[depth[:-1] > 0].sum()
    return int((ends - starts).sum()), int(union)


def _find_runs(counts: str | bytes) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Find the first pixel of each run of an annotation, and the one after its last pixel, column by column."""
    borders = np.cumsum(_decode_counts(counts))
    return borders[:-1:2], borders[1::2]  # runs alternate, beginning with background


def _decode_counts(text: str | bytes) -> NDArray[np.int64]:
    """Decode compressed run lengths.

    A number consists of characters with 5 bits each, lowest bits first. A sixth bit indicates that another character
    follows. The highest bit of a number is its sign. From the fourth number on, each number is stored as the difference
    from the number two positions earlier.

    Raises:
        ValueError: The text is not a valid encoding.
    """
    content = text.encode("ascii") if isinstance(text, str) else text
    if not content:
        raise ValueError("empty")
    digits = np.frombuffer(content, np.uint8).astype(np.int64) - ord("0")
    last = np.flatnonzero(digits & 32 == 0)
    if digits.min() < 0 or digits.max() > 63 or not last.size or last[-1] != digits.size - 1:
        raise ValueError("characters that are not part of RLE")
    first = np.concatenate([[0], last[:-1] + 1])
    places = np.arange(digits.size) - np.repeat(first, last - first + 1)
    if places.max() > 6:  # pycocotools keeps lengths in 32 bits
        raise ValueError("a number of more than 35 bits")
    values: NDArray[np.int64] = np.add.reduceat((digits & 31) << (5 * places), first)
    values -= (digits[last] >> 4 & 1) << (5 * (places[last] + 1))
    for begin in (1, 2):
        values[begin::2] = np.cumsum(values[begin::2])
    return values


def _find_rle_problem(segmentation: Mapping[str, object], size: tuple[int, int] | None) -> str:
    counts, own_size = segmentation.get("counts"), segmentation.get("size")
    if not isinstance(counts, list | str) or not _is_list_of(own_size, int) or len(own_size) != 2:
        return "is neither a list of polygons nor RLE with size and counts"
    if size is None:
        return ""
    high, wide = size
    if own_size != [high, wide]:
        return f"RLE of {own_size[1]} × {own_size[0]} px, but the image is {wide} × {high}"
    try:
        lengths = _decode_counts(counts).tolist() if isinstance(counts, str) else counts
    except ValueError:
        return "RLE with invalid counts"
    pixels = high * wide
    if not _is_list_of(lengths, int) or not all(0 <= length <= pixels for length in lengths):
        return "RLE with invalid counts"
    if (total := sum(lengths)) != pixels:
        return f"RLE whose counts add up to {total:,} pixels, but the image has {pixels:,}"
    return ""


def _find_polygon_problem(polygon: object) -> str:
    if not _is_list_of(polygon, int, float):
        return "is neither a list of polygons nor RLE; a polygon is a list of numbers: x, y, x, y, ..."
    if len(polygon) < 6 or len(polygon) % 2:
        return f"a polygon of {len(polygon)} numbers, but three or more points need 6, 8, 10 or more numbers"
    try:
        points = np.array(polygon, float)
    except OverflowError:  # a whole number is too large for a float
        points = np.array([math.inf])
    if not np.isfinite(points).all():
        return "a polygon with infinite or undefined numbers"
    points = points.reshape(-1, 2)
    outline = np.abs(points - np.roll(points, 1, axis=0)).max(axis=1).sum()
    if max(np.abs(points).max(), outline) > _MAX_COORDINATE:
        return f"a polygon that extends over more than {_MAX_COORDINATE:,} px"
    return ""


def _is_list_of(value: object, *kinds: type) -> TypeGuard[list[Any]]:
    return isinstance(value, list) and set(map(type, value)) <= set(kinds)  # isinstance() would accept bool as int
