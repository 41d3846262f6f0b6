"""CVAT for images 1.1: an XML file with the shapes of all images.

https://docs.cvat.ai/docs/other/xml_format
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from pipeline.errors import PipelineError
from pipeline.params.data.file_pattern import DEFAULT_PATTERNS
from pipeline.prepare.data_issues import IssueKind
from pipeline.prepare.formats.annotation_format import AnnotationFormat, FormatSettings
from pipeline.prepare.formats.annotations import AnnotatedImage, Annotations, parse_size
from pipeline.prepare.formats.image_index import ImageIndex
from pipeline.prepare.formats.polygons import (
    ShapeError,
    decode_row_runs,
    make_ellipse,
    make_rectangle,
    place_mask,
)
from pipeline.prepare.formats.safe_files import parse_xml

FILE = "annotations.xml"
_LABEL_NAME = "labels/label/name"  # end of the path of the element with a label's name
_SHAPES = frozenset(("polygon", "box", "mask", "ellipse"))
_WITHOUT_AREA = frozenset(("polyline", "points", "cuboid", "skeleton"))
_MAX_LAYER = 1_000_000
_NO_GROUP = "0"


def find(folder: Path) -> FormatSettings | None:
    """Return the settings of a folder with CVAT's annotations.xml."""
    if not (folder / FILE).is_file():
        return None
    return FormatSettings(FILE, DEFAULT_PATTERNS[0] if (folder / "images").is_dir() else "**/*")


def read(annotations: str, index: ImageIndex, key: str) -> Annotations:
    """Read the annotations of a folder. Higher z_order is on top, and the later of two shapes with the same one.

    Shapes with the same label and group are one object, as in CVAT's exports to COCO.

    Raises:
        PipelineError: The file is not CVAT's XML for images.
    """
    found = _Reader(index, index.folder / annotations, key)
    parse_xml(index.folder / annotations, key, found.start, found.add_text)
    if not found.result.images:
        raise PipelineError(
            f"{key}: {index.folder / annotations} has no images. Export the task as CVAT for images 1.1."
        )
    return found.result


class _Reader:
    """Handler of the elements of CVAT's XML."""

    def __init__(self, index: ImageIndex, path: Path, key: str) -> None:
        self.result = Annotations()
        self._index, self._path, self._key = index, path, key
        self._image: AnnotatedImage | None = None
        self._place = 0  # of the shape in the image

    def start(self, name: str, attributes: Mapping[str, str]) -> None:
        """Handle the start of an element."""
        if name == "track":
            raise PipelineError(
                f"{self._key}: {self._path} has tracks, as CVAT for video. Export the task as CVAT for images 1.1."
            )
        if name == "image":
            self._add_image(attributes)
        elif self._image is not None and (name in _SHAPES or name in _WITHOUT_AREA):
            self._add_shape(self._image, name, attributes)

    def add_text(self, path: str, text: str) -> None:
        """Handle the text of an element: the names of labels, in the order of the task."""
        if path.endswith(_LABEL_NAME) and text.strip():
            self.result.number_category(text.strip())

    def _add_image(self, attributes: Mapping[str, str]) -> None:
        written = attributes.get("name", "")
        # A project's images are in folders of their subsets.
        path = f"{attributes['subset']}/{written}" if attributes.get("subset") else written
        names = self._index.find_by_end(path)
        size = parse_size(_to_int(attributes.get("height")), _to_int(attributes.get("width")))
        self._image, self._place = self.result.add_image(names, str(PurePosixPath(written)), size), 0

    def _add_shape(self, image: AnnotatedImage, kind: str, attributes: Mapping[str, str]) -> None:
        label, self._place = attributes.get("label", ""), self._place + 1
        name = f"{kind} {self._place} ({label})"
        try:
            if not label:
                raise ShapeError("has no label")
            if kind in _WITHOUT_AREA:
                raise ShapeError("has no area")
            segmentation = _convert(kind, attributes, image.size)
            order = int(_get_number(attributes, "z_order", 0))
        except ShapeError as error:
            image.note(IssueKind.NO_GEOMETRY, f"{name}: {error}")
            return
        image.rectangles += kind == "box"
        layer = order * _MAX_LAYER + self._place
        group = attributes.get("group_id")
        group = None if group == _NO_GROUP else group
        image.add(name, self._place, self.result.number_category(label), False, segmentation, layer, group)


def _convert(kind: str, attributes: Mapping[str, str], size: tuple[int, int] | None) -> Any:
    """Convert a shape to polygons or RLE. Raise `ShapeError` if it is invalid."""
    degrees = _get_number(attributes, "rotation", 0)
    if kind == "polygon":
        try:
            return [[float(value) for point in attributes.get("points", "").split(";") for value in point.split(",")]]
        except ValueError:
            raise ShapeError("has points that are not pairs of numbers") from None
    if kind == "box":
        edges = [_get_number(attributes, edge) for edge in ("xtl", "ytl", "xbr", "ybr")]
        return make_rectangle(edges[0], edges[1], edges[2], edges[3], degrees)
    if kind == "ellipse":
        values = [_get_number(attributes, value) for value in ("cx", "cy", "rx", "ry")]
        return make_ellipse(values[0], values[1], values[2], values[3], degrees)
    left, top, width, height = (int(_get_number(attributes, edge)) for edge in ("left", "top", "width", "height"))
    if size is None:
        raise ShapeError("is a mask, but the size of the image is unknown")
    if not (0 < width <= size[1] and 0 < height <= size[0]):
        raise ShapeError(f"is a mask of {width} × {height} px in an image of {size[1]} × {size[0]}")
    try:
        counts = [int(count) for count in attributes.get("rle", "").split(",")]
    except ValueError:
        raise ShapeError("has run lengths that are not whole numbers") from None
    return place_mask(decode_row_runs(counts, height, width), left, top, size)


def _get_number(attributes: Mapping[str, str], name: str, default: float | None = None) -> float:
    try:
        value = float(attributes[name]) if name in attributes or default is None else default
    except (KeyError, ValueError):
        raise ShapeError(f"has no number for {name}") from None
    if not math.isfinite(value):
        raise ShapeError(f"has {name} {value}")
    return value


def _to_int(text: str | None) -> int | None:
    return int(text) if text and text.isdecimal() else None


CVAT = AnnotationFormat("cvat", "CVAT for images", find, read)
