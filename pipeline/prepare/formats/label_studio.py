"""Label Studio: a JSON file of tasks with polygons, brush strokes, bitmasks, rectangles and ellipses.

https://labelstud.io/guide/export#Label-Studio-JSON-format-of-annotated-tasks
"""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import PipelineError
from pipeline.imaging.decode import ENDINGS, decode
from pipeline.imaging.errors import ImageError
from pipeline.params.data.file_pattern import DEFAULT_PATTERNS
from pipeline.prepare.data_issues import DataIssue, IssueKind
from pipeline.prepare.formats.annotation_format import AnnotationFormat, FormatSettings
from pipeline.prepare.formats.annotations import AnnotatedImage, Annotations, make_id, parse_size, truncate
from pipeline.prepare.formats.image_index import ImageIndex
from pipeline.prepare.formats.polygons import (
    ShapeError,
    encode_mask,
    flatten_points,
    make_ellipse,
    make_rectangle,
)
from pipeline.prepare.formats.safe_files import load_json

_KINDS = ("polygon", "brush", "bitmask", "rectangle", "ellipse")
_WITHOUT_AREA = ("keypoint", "vector")
# Describe the image, or a region that is also in the list.
_WITHOUT_SHAPE = ("choices", "datetime", "number", "pairwise", "ranker", "rating", "taxonomy", "textarea")
_PNG_URL = "data:image/png;base64,"
_UPLOAD = re.compile(r"^[0-9a-f]{8}-")  # before the names of uploaded files
_HEAD_BYTES = 1_000
_RGBA = 4  # bytes per pixel in a brush stroke


def find(folder: Path) -> FormatSettings | None:
    """Return the settings of a folder whose JSON file is a list of tasks."""
    for path in sorted(folder.glob("*.json")):
        try:
            with path.open("rb") as file:
                is_list = file.read(_HEAD_BYTES).lstrip().startswith(b"[")  # files of other formats may be large
            tasks = load_json(path, "pipeline init", list) if is_list else []
        except (PipelineError, OSError):
            continue
        if tasks and isinstance(tasks[0], dict) and {"data", "annotations"} <= tasks[0].keys():
            return FormatSettings(path.name, DEFAULT_PATTERNS[0] if (folder / "images").is_dir() else "**/*")
    return None


def read(annotations: str, index: ImageIndex, key: str) -> Annotations:
    """Read the annotations of a folder. Small objects are on top.

    Of several annotations of a task, the one marked as ground truth counts, or else the first one.

    Raises:
        PipelineError: The file is not a list of tasks.
    """
    path = index.folder / annotations
    tasks = load_json(path, key, list)
    if not tasks or not all(isinstance(task, dict) and isinstance(task.get("data"), dict) for task in tasks):
        raise PipelineError(
            f"{key}: {path} must be a list of tasks with data. Export the project as JSON, not JSON-MIN."
        )
    found, several = Annotations(), 0
    for task in tasks:
        file_name = _find_file_name(task["data"])
        names = index.find_by_end(file_name) or index.find_by_end(_UPLOAD.sub("", PurePosixPath(file_name).name))
        finished = _list_finished(task.get("annotations"))
        several += len(finished) > 1
        if not finished:
            name = next(iter(names), make_id(file_name))
            found.issues.append(DataIssue(IssueKind.NO_TRUTH, name, truncate(file_name), "no annotation"))
            continue
        chosen = next((one for one in finished if one.get("ground_truth") is True), finished[0])
        results = [one for one in chosen["result"] if isinstance(one, dict) and isinstance(one.get("value"), dict)]
        sizes = (parse_size(one.get("original_height"), one.get("original_width")) for one in results)
        size = next(filter(None, sizes), None) or (index.read_size(names[0]) if names else None)
        image = found.add_image(names, file_name, size)
        for place, result in enumerate(results):
            _add_result(found, image, place, result)
    if several:
        found.notices.append(
            f"{several} of {len(tasks)} tasks have several annotations. The one marked as ground truth counts, or else "
            f"the first one."
        )
    return found


def _list_finished(annotations: object) -> list[dict[str, Any]]:
    """Return the annotations of a task that were not skipped."""
    return [
        one
        for one in (annotations if isinstance(annotations, list) else [])
        if isinstance(one, dict) and isinstance(one.get("result"), list) and not one.get("was_cancelled")
    ]


def _find_file_name(data: Mapping[str, Any]) -> str:
    """Return the path of a task's image: the first value that ends like an image, without its server."""
    for value in data.values():
        if not isinstance(value, str):
            continue
        parts = urlsplit(value)
        local = parse_qs(parts.query).get("d")  # /data/local-files/?d=...
        path = unquote(local[0] if local else parts.path)
        if path.lower().endswith(ENDINGS):
            return path
    return str(next(iter(data.values()), ""))[:100]


def _add_result(found: Annotations, image: AnnotatedImage, place: int, result: Mapping[str, Any]) -> None:
    written = str(result.get("type", ""))
    kind = written.removesuffix("labels")
    name = f"region {place} ({kind or written})"
    if kind in _WITHOUT_AREA:
        image.note(IssueKind.NO_GEOMETRY, f"{name}: has no area")
    elif kind not in (*_KINDS, *_WITHOUT_SHAPE) and "original_width" in result:  # otherwise a region of a text or audio
        image.note(IssueKind.NO_GEOMETRY, f"{name}: is of a type that is not read")
    if kind not in _KINDS or image.size is None:
        return
    labels = result["value"].get(f"{kind}labels")
    try:
        if not isinstance(labels, list) or not labels or not isinstance(labels[0], str):
            raise ShapeError("has no label")
        if result.get("image_rotation"):
            raise ShapeError("was drawn on a rotated image")
        segmentation = _convert(kind, result["value"], image.size)
    except ShapeError as error:
        image.note(IssueKind.NO_GEOMETRY, f"{name}: {error}")
        return
    image.rectangles += kind == "rectangle"
    image.add(name, place, found.number_category(labels[0]), False, segmentation)


def _convert(kind: str, value: Mapping[str, Any], size: tuple[int, int]) -> Any:
    """Convert a region, in percent of the image, to polygons or RLE. Raise `ShapeError` if it is invalid."""
    height, width = size
    if kind == "brush":
        return encode_mask(_decode_brush(value.get("rle"), size))
    if kind == "bitmask":
        return encode_mask(_decode_bitmask(value.get("imageDataURL"), size))
    if kind == "polygon":
        (flat,) = flatten_points(value.get("points"))
        return [[number / 100 * (height if place % 2 else width) for place, number in enumerate(flat)]]
    keys = ("x", "y", "width", "height") if kind == "rectangle" else ("x", "y", "radiusX", "radiusY")
    numbers = [_get_number(value.get(key), key) for key in keys]
    degrees = _get_number(value.get("rotation") or 0, "rotation")
    x, y, across, down = (number / 100 * side for number, side in zip(numbers, (width, height) * 2, strict=True))
    if kind == "ellipse":
        return make_ellipse(x, y, across, down, degrees)
    if not degrees:
        return make_rectangle(x, y, x + across, y + down)
    # Label Studio rotates a rectangle about its upper left corner.
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    corners = [(0.0, 0.0), (across, 0.0), (across, down), (0.0, down)]
    return [[part for a, b in corners for part in (x + a * cosine - b * sine, y + a * sine + b * cosine)]]


def _get_number(value: object, key: str) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        raise ShapeError(f"has no number for {key}")
    return value


def _decode_bitmask(url: object, size: tuple[int, int]) -> NDArray[np.bool_]:
    """Decode a bitmask: the data URL of a PNG with the height and width of the image, in px.

    Returns:
        The pixels (H x W) that are not transparent.

    Raises:
        ShapeError: The PNG is invalid, has no transparency, or has a different size than the image.
    """
    if not isinstance(url, str) or not url.startswith(_PNG_URL):
        raise ShapeError("has no imageDataURL with a PNG")
    try:
        png = decode(base64.b64decode(url.removeprefix(_PNG_URL), validate=True), ("PNG",))
    except (ValueError, ImageError) as error:
        raise ShapeError(f"has an invalid PNG ({error})") from None
    if (png.height, png.width) != size:
        raise ShapeError(f"has a PNG of {png.width} × {png.height} px, but the image has {size[1]} × {size[0]} px")
    if not png.has_transparency_data:
        raise ShapeError("has a PNG without transparency, so its pixels are unknown")
    return np.asarray(png.convert("RGBA").getchannel("A")) > 0


def _decode_brush(codes: object, size: tuple[int, int]) -> NDArray[np.bool_]:
    """Decode a brush stroke: RGBA bytes in the run lengths of https://github.com/thi-ng/umbrella, package rle-pack.

    Args:
        codes: Bytes of the encoding.
        size: Height and width of the image in px.

    Returns:
        The pixels (H x W) that are not transparent.

    Raises:
        ShapeError: The encoding is invalid, or has a different number of bytes than the image.
    """
    height, width = size
    if not isinstance(codes, list) or not all(type(code) is int and 0 <= code <= 255 for code in codes):
        raise ShapeError("has an rle that is not a list of bytes")
    bits = _BitReader(codes)
    num_bytes, word = bits.read(32), bits.read(5) + 1
    if num_bytes != height * width * _RGBA or word != 8:
        raise ShapeError(f"has an rle of {num_bytes:,} bytes, but the image has {width} × {height} px")
    lengths = [bits.read(4) + 1 for _ in range(4)]
    decoded = np.zeros(num_bytes, np.uint8)
    for start, end, values in _read_runs(bits, num_bytes, lengths):
        decoded[start:end] = values
    alpha: NDArray[np.uint8] = decoded.reshape(height, width, _RGBA)[..., -1]
    return alpha > 0


def _read_runs(
    bits: _BitReader, num_bytes: int, lengths: list[int]
) -> Iterator[tuple[int, int, int | NDArray[np.uint8]]]:
    """Yield the start, the end and the values of each run: one repeated value, or one value per byte."""
    start = 0
    while start < num_bytes:
        is_repeated = bits.read(1)
        end = start + 1 + bits.read(lengths[bits.read(2)])
        if end > num_bytes:
            raise ShapeError("has an rle that is longer than the image")
        yield start, end, bits.read(8) if is_repeated else bits.read_bytes(end - start)
        start = end


class _BitReader:
    """Reader of numbers of any width from bytes."""

    def __init__(self, codes: list[int]) -> None:
        self._bits = np.unpackbits(np.array(codes, np.uint8))
        self._place = 0

    def _take(self, count: int) -> NDArray[np.uint8]:
        taken = self._bits[self._place : self._place + count]
        if len(taken) < count:
            raise ShapeError("has an rle that ends early")
        self._place += count
        return taken

    def read(self, width: int) -> int:
        """Read a number of `width` bits."""
        return int.from_bytes(np.packbits(self._take(width)).tobytes(), "big") >> (-width % 8)

    def read_bytes(self, count: int) -> NDArray[np.uint8]:
        """Read `count` numbers of 8 bits."""
        return np.packbits(self._take(8 * count))


LABEL_STUDIO = AnnotationFormat("label_studio", "Label Studio", find, read)
