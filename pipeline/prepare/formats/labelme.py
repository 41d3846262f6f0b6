"""LabelMe: a JSON file per image, next to the image or in another folder.

https://github.com/wkentaro/labelme
"""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Mapping
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from pipeline.errors import PipelineError
from pipeline.imaging.errors import ImageError
from pipeline.imaging.mask_decoding import decode_mask
from pipeline.params.data.file_pattern import FilePattern
from pipeline.prepare.data_issues import DataIssue, IssueKind
from pipeline.prepare.formats.annotation_format import AnnotationFormat, FormatSettings
from pipeline.prepare.formats.annotations import Annotations, make_id, parse_size
from pipeline.prepare.formats.image_index import ImageIndex
from pipeline.prepare.formats.polygons import ShapeError, flatten_points, make_ellipse, make_rectangle, place_mask
from pipeline.prepare.formats.safe_files import MAX_IMAGE_BYTES, load_json
from pipeline.prepare.sources.image_files import list_files

IGNORED = "__ignore__"  # label of pixels that LabelMe's converters ignore
_PATTERN = "**/*"
_ENDING = ".json"
_MAX_OPENED = 5  # files that are opened to recognize the format
_CORNERS = 2


def find(folder: Path) -> FormatSettings | None:
    """Return the settings of a folder whose first JSON files are LabelMe's."""
    for path in islice(sorted(folder.rglob(f"*{_ENDING}")), _MAX_OPENED):
        try:
            content = load_json(path, "pipeline init", dict, MAX_IMAGE_BYTES)
        except PipelineError:
            continue
        if {"shapes", "imagePath"} <= content.keys():
            return FormatSettings(f"{_PATTERN}{_ENDING}", _PATTERN)
    return None


def read(annotations: str, index: ImageIndex, key: str) -> Annotations:
    """Read the annotations of a folder.

    Shapes are drawn in the order of the file, as LabelMe shows them. Shapes with the same label and group are one
    object, as in LabelMe's converters.

    Raises:
        PipelineError: No JSON file matches.
    """
    try:
        pattern = FilePattern.parse(annotations)
    except ValueError as error:
        raise PipelineError(f"{key}: {error}.") from None
    paths = [path for path in list_files(index.folder, pattern.root, key) if pattern.match(path, (_ENDING,))]
    found, count = Annotations(), 0
    for path in paths:
        try:
            content = load_json(index.folder / path, key, dict, MAX_IMAGE_BYTES)
        except PipelineError as error:
            name = next(iter(_find_beside(path, index)), make_id(str(path)))
            found.issues.append(DataIssue(IssueKind.UNREADABLE, name, str(path), str(error)))
            continue
        if "shapes" in content:
            count += 1
            _add_image(found, content, path, index)
    if not count and not found.issues:
        raise PipelineError(f"{key}: {index.folder} contains no LabelMe files that match '{annotations}'.")
    return found


def _add_image(found: Annotations, content: Mapping[str, Any], path: PurePosixPath, index: ImageIndex) -> None:
    written = content.get("imagePath")
    image_path = written if isinstance(written, str) else ""
    names = index.find(image_path, str(path.parent)) if image_path else []
    names = names or _find_beside(path, index)  # as LabelMe does, even if imagePath is out of date
    size = parse_size(content.get("imageHeight"), content.get("imageWidth"))
    if size is None and names and content.get("imageHeight") is None:
        size = index.read_size(names[0])
    image = found.add_image(names, image_path or str(path), size)
    shapes = content["shapes"]
    for place, shape in enumerate(shapes if isinstance(shapes, list) else [shapes]):
        if not isinstance(shape, dict) or not isinstance(shape.get("label"), str):
            image.note(IssueKind.NO_GEOMETRY, f"shape {place}: has no label")
            continue
        try:
            segmentation = _convert(shape, size)
        except ShapeError as error:
            image.note(IssueKind.NO_GEOMETRY, f"shape {place} ({shape['label']}): {error}")
            continue
        number = found.number_category(shape["label"])
        image.rectangles += shape.get("shape_type") == "rectangle"
        group = shape.get("group_id")
        group = group if isinstance(group, int | float | str) else None
        image.add(f"shape {place} ({shape['label']})", place, number, False, segmentation, place, group)


def _find_beside(path: PurePosixPath, index: ImageIndex) -> list[str]:
    """Find the image next to a JSON file with the same name."""
    found = (index.find(f"{path.stem}{ending}", str(path.parent)) for ending in index.endings)
    return next(filter(None, found), [])


def _convert(shape: Mapping[str, Any], size: tuple[int, int] | None) -> Any:
    """Convert a shape to polygons or RLE. Raise `ShapeError` if it has no area."""
    kind = shape.get("shape_type", "polygon")
    (flat,) = flatten_points(shape.get("points"))
    if kind == "polygon":
        return [flat]
    if kind not in ("rectangle", "circle", "mask"):
        raise ShapeError(f"is of type {kind}, which has no area")
    if len(flat) != 2 * _CORNERS:
        raise ShapeError(f"is of type {kind}, but has {len(flat) // 2} points instead of 2")
    x, y, other_x, other_y = flat
    if not all(map(math.isfinite, flat)):
        raise ShapeError("has infinite or undefined numbers")
    if kind == "circle":
        radius = math.hypot(other_x - x, other_y - y)
        return make_ellipse(x, y, radius, radius)
    left, right, top, bottom = min(x, other_x), max(x, other_x), min(y, other_y), max(y, other_y)
    if kind == "rectangle":
        return make_rectangle(left, top, right, bottom)
    if size is None:
        raise ShapeError("is a mask, but the size of the image is unknown")
    return place_mask(_decode_mask(shape.get("mask")), round(left), round(top), size)


def _decode_mask(text: object) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Decode the PNG of a shape of type mask."""
    try:
        content = base64.b64decode(text if isinstance(text, str) else "", validate=True)
        return decode_mask(content, colors=False).values > 0
    except (binascii.Error, ValueError, ImageError) as error:
        raise ShapeError(f"has an invalid mask ({error})") from None


LABELME = AnnotationFormat("labelme", "LabelMe", find, read, ignored=(IGNORED,))
