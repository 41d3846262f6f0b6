"""COCO panoptic: JSON files with the segments of each image, and PNGs with the number of the segment at each pixel.

https://cocodataset.org/#format-data
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from pipeline.errors import PipelineError
from pipeline.imaging.errors import ImageError
from pipeline.imaging.mask_decoding import DecodedMask, decode_mask
from pipeline.params.data.file_pattern import DEFAULT_PATTERNS, FilePattern
from pipeline.prepare.data_issues import DataIssue, IssueKind
from pipeline.prepare.formats.annotation_format import AnnotationFormat, FormatSettings
from pipeline.prepare.formats.annotations import (
    AnnotatedImage,
    Annotations,
    find_name_problem,
    parse_int,
    parse_size,
    truncate,
)
from pipeline.prepare.formats.image_index import ImageIndex
from pipeline.prepare.formats.safe_files import load_json
from pipeline.prepare.image_mask_pair import ImageMaskPair, MaskReader
from pipeline.prepare.read_file import read_limited
from pipeline.prepare.sources.image_files import list_files

_ENDING = ".json"
_PARTS = ("images", "annotations", "categories")
_VOID = 0  # number of pixels without a segment


@dataclass(frozen=True)
class PanopticReader(MaskReader):
    """Reader of PNGs whose colors number segments, R + 256 G + 65536 B."""

    index_of: tuple[tuple[int, int], ...]  # (category id, class index or IGNORE) of each declared category
    background: int  # class index, or IGNORE, of pixels without a segment

    def describe(self, pair: ImageMaskPair) -> str:
        """Return the name of the PNG, for messages."""
        return str(json.loads(pair.mask)["file"])

    def read(self, folder: Path, mask: str) -> bytes:
        """Return the segments as a line of JSON, and the content of the PNG."""
        return b"\n".join([mask.encode(), read_limited(folder / json.loads(mask)["file"])])

    def _decode(self, content: bytes) -> DecodedMask:
        header, _, png = content.partition(b"\n")
        segments, index_of = dict(json.loads(header)["segments"]), dict(self.index_of)
        mask = decode_mask(png, colors=True)
        numbers, inverse = np.unique(mask.values, return_inverse=True)
        # The red channel has the lowest bits.
        ids = (numbers >> 16 & 255) | (numbers & 0xFF00) | (numbers & 255) << 16
        classes = []
        for number in ids.tolist():
            if number == _VOID:
                classes.append(self.background)
            elif number in segments:
                classes.append(index_of[segments[number]])
            else:
                raise ImageError(f"has the segment {number}, which the annotations do not list")
        values = np.array(classes, np.uint8)[inverse].reshape(mask.values.shape)
        return DecodedMask(values, has_orientation=mask.has_orientation)


def find(folder: Path) -> FormatSettings | None:
    """Return the settings of a folder with JSON files of panoptic annotations."""
    for place in ("", "annotations/"):
        found = sorted(folder.glob(f"{place}panoptic*{_ENDING}"))
        if found and any(path.is_dir() for path in folder.glob(f"{place}panoptic*")):
            images = DEFAULT_PATTERNS[0] if (folder / "images").is_dir() else "{any}/*"
            name = f"{place}panoptic*{_ENDING}" if len(found) > 1 else found[0].relative_to(folder).as_posix()
            splits = sorted(path.name for path in folder.iterdir() if path.is_dir() and path.name != "annotations")
            if images != DEFAULT_PATTERNS[0] and len(splits) > 1:
                images = "*/*"
            return FormatSettings(name, images)
    return None


def read(annotations: str, index: ImageIndex, key: str) -> Annotations:
    """Read the annotations of a folder.

    Raises:
        PipelineError: A file is missing or invalid.
    """
    found = Annotations()
    for path in _list_json(annotations, index.folder, key):
        content = load_json(index.folder / path, key, dict)
        for part in _PARTS:
            entries = content.get(part)
            if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
                raise PipelineError(
                    f"{key}: {index.folder / path}: '{part}' must be a list of objects. Export the annotations as COCO "
                    f"panoptic."
                )
        _add_file(found, content, path, index, key)
    for name, image in found.images.items():
        if not image.mask and not image.issues:
            found.issues.append(DataIssue(IssueKind.NO_TRUTH, name, image.file_name))
    return found


def _list_json(annotations: str, folder: Path, key: str) -> list[PurePosixPath]:
    if "*" not in annotations and "{" not in annotations:
        return [PurePosixPath(annotations)]
    try:
        pattern = FilePattern.parse(annotations)
    except ValueError as error:
        raise PipelineError(f"{key}: {error}.") from None
    paths = [path for path in list_files(folder, pattern.root, key) if pattern.match(path, (_ENDING,))]
    if not paths:
        raise PipelineError(f"{key}: {folder} contains no files that match '{annotations}'.")
    return paths


def _add_file(found: Annotations, content: dict[str, Any], path: PurePosixPath, index: ImageIndex, key: str) -> None:
    for category in content["categories"]:
        number, name = parse_int(category.get("id")), category.get("name")
        if number is None or not isinstance(name, str) or found.categories.setdefault(number, name) != name:
            raise PipelineError(
                f"{key}: {index.folder / path}: the category {truncate(str(category))} must have an id of its own and "
                f"a name."
            )
    images: dict[Any, AnnotatedImage] = {}
    for entry in content["images"]:
        written = entry.get("file_name")
        if not isinstance(written, str) or (problem := find_name_problem(written)):
            what = f"{truncate(str(written))} {problem}" if isinstance(written, str) else "an image has no file_name"
            raise PipelineError(f"{key}: {index.folder / path}: {what}. Export the annotations again.")
        size = parse_size(entry.get("height"), entry.get("width"))
        images[str(entry.get("id"))] = found.add_image(_find_image(written, path, index), written, size)
    for entry in content["annotations"]:
        written, image = entry.get("file_name"), images.get(str(entry.get("image_id")))
        if image is None:
            raise PipelineError(
                f"{key}: {index.folder / path}: the annotation {truncate(str(written))} belongs to no image. Export "
                f"the annotations again."
            )
        if not isinstance(written, str) or find_name_problem(written):
            image.note(IssueKind.UNREADABLE, f"annotation with the file name {written!r}")
            continue
        _add_segments(image, entry, str(path.with_suffix("") / written), found.categories)


def _add_segments(image: AnnotatedImage, entry: dict[str, Any], file: str, categories: dict[int, str]) -> None:
    """Add the segments of an image. Crowds have a category like all other segments."""
    segments, listed = [], entry.get("segments_info")
    for segment in listed if isinstance(listed, list) else []:
        number = parse_int(segment.get("id")) if isinstance(segment, dict) else None
        category = parse_int(segment.get("category_id")) if isinstance(segment, dict) else None
        if number is None or category not in categories:
            image.note(IssueKind.UNLISTED, f"segment {number}: category {category}")
            continue
        segments.append((number, category))
        image.objects[category] += 1
    image.mask = json.dumps({"file": file, "segments": segments})


def _find_image(written: str, path: PurePosixPath, index: ImageIndex) -> list[str]:
    """Find an image. In COCO's own folders, the split is a part of the annotations' name: panoptic_val2017.json."""
    split = path.stem.removeprefix("panoptic").strip("_")
    return index.find_by_end(f"{split}/{written}" if split else written) or index.find_by_end(written)


COCO_PANOPTIC = AnnotationFormat(
    "coco_panoptic",
    "COCO panoptic",
    find,
    read,
    PanopticReader,
)
