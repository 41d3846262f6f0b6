"""Supervisely: meta.json, and a JSON file per image in the folder ann/ of each data set.

https://developer.supervisely.com/getting-started/supervisely-annotation-format/images
"""

from __future__ import annotations

import base64
import binascii
import zlib
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import PipelineError
from pipeline.imaging.decode import decode
from pipeline.imaging.errors import ImageError
from pipeline.prepare.data_issues import DataIssue, IssueKind
from pipeline.prepare.formats.annotation_format import AnnotationFormat, FormatSettings
from pipeline.prepare.formats.annotations import AnnotatedImage, Annotations, make_id, parse_size
from pipeline.prepare.formats.image_index import ImageIndex
from pipeline.prepare.formats.polygons import ShapeError, cut_holes, flatten_points, make_rectangle, place_mask
from pipeline.prepare.formats.safe_files import MAX_IMAGE_BYTES, load_json
from pipeline.prepare.sources.image_files import list_files

META = "meta.json"
IMAGES, ANNOTATIONS = "img", "ann"
_ENDING = ".json"
_MAX_PNG_BYTES = 100_000_000
_CORNERS = 2


def find(folder: Path) -> FormatSettings | None:
    """Return the settings of a project with meta.json and data sets of img/ and ann/."""
    if not (folder / META).is_file() or not any(folder.glob(f"*/{ANNOTATIONS}")):
        return None
    return FormatSettings(META, f"**/{IMAGES}/*")


def read(annotations: str, index: ImageIndex, key: str) -> Annotations:
    """Read the annotations of a folder. Later objects of a file are on top.

    Raises:
        PipelineError: `meta.json` is invalid.
    """
    found = Annotations()
    meta = load_json(index.folder / annotations, key, dict)
    classes = meta.get("classes")
    if not isinstance(classes, list) or not all(
        isinstance(one, dict) and isinstance(one.get("title"), str) for one in classes
    ):
        raise PipelineError(f"{key}: {index.folder / annotations} must have a list of classes, each with a title.")
    for one in classes:
        found.number_category(one["title"])
    for path in list_files(index.folder, "", key):
        if path.parent.name == ANNOTATIONS and path.suffix == _ENDING:
            _add_file(found, path, index, key)
    return found


def _add_file(found: Annotations, path: PurePosixPath, index: ImageIndex, key: str) -> None:
    written = str(path.parent.parent / IMAGES / path.stem)
    names = index.find(written)
    try:
        content = load_json(index.folder / path, key, dict, MAX_IMAGE_BYTES)
    except PipelineError as error:
        name = next(iter(names), make_id(str(path)))
        found.issues.append(DataIssue(IssueKind.UNREADABLE, name, str(path), str(error)))
        return
    size = content.get("size")
    sides = parse_size(size.get("height"), size.get("width")) if isinstance(size, dict) else None
    image = found.add_image(names, written, sides)
    objects = content.get("objects")
    for place, one in enumerate(objects if isinstance(objects, list) else []):
        _add_object(found, image, place, one if isinstance(one, dict) else {})


def _add_object(found: Annotations, image: AnnotatedImage, place: int, one: Mapping[str, Any]) -> None:
    title, kind = one.get("classTitle"), one.get("geometryType")
    name = f"object {place} ({title})"
    if title not in found.categories.values():
        image.note(IssueKind.UNLISTED, f"object {place}: class {title}")
        return
    try:
        segmentation = _convert(kind, one, image.size)
    except ShapeError as error:
        image.note(IssueKind.NO_GEOMETRY, f"{name}: {error}")
        return
    image.rectangles += kind == "rectangle"
    image.add(name, place, found.number_category(str(title)), False, segmentation, layer=place)


def _convert(kind: object, one: Mapping[str, Any], size: tuple[int, int] | None) -> Any:
    """Convert an object to polygons or RLE. Raise `ShapeError` if it has no area."""
    if size is None:
        raise ShapeError("cannot be drawn, because the size of the image is unknown")
    points = one.get("points") if kind != "bitmap" else one.get("bitmap")
    if kind not in ("polygon", "rectangle", "bitmap") or not isinstance(points, dict):
        raise ShapeError(f"is of type {kind}, which has no area")
    if kind == "bitmap":
        origin = points.get("origin")
        if not isinstance(origin, list) or len(origin) != _CORNERS or not all(type(part) is int for part in origin):
            raise ShapeError("has no origin")
        return place_mask(_decode_bitmap(points.get("data")), origin[0], origin[1], size)
    outer = flatten_points(points.get("exterior"))
    if kind == "rectangle":
        if len(outer[0]) != 2 * _CORNERS:
            raise ShapeError("is a rectangle without two corners")
        x, y, other_x, other_y = outer[0]
        return make_rectangle(min(x, other_x), min(y, other_y), max(x, other_x), max(y, other_y))
    holes = points.get("interior") or []
    if not isinstance(holes, list):
        raise ShapeError("has an interior that is not a list")
    return cut_holes(outer, [flatten_points(hole) for hole in holes], size)


def _decode_bitmap(text: object) -> NDArray[np.bool_]:
    """Decode a bitmap: a PNG, compressed with zlib, in base64. Its alpha channel is the mask, if it has one."""
    try:
        packed = base64.b64decode(text if isinstance(text, str) else "", validate=True)
        unpacker = zlib.decompressobj()
        content = unpacker.decompress(packed, _MAX_PNG_BYTES)
        if unpacker.unconsumed_tail:
            raise ShapeError(f"has a bitmap of more than {_MAX_PNG_BYTES:,} bytes")
        image = decode(content, ("PNG",))
    except (binascii.Error, ValueError, zlib.error, ImageError) as error:
        raise ShapeError(f"has an invalid bitmap ({error})") from None
    band = image.convert("RGBA").getchannel("A") if image.has_transparency_data else image.convert("L")
    return np.asarray(band) > 0


SUPERVISELY = AnnotationFormat("supervisely", "Supervisely", find, read)
