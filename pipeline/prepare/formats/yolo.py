"""Ultralytics YOLO for segmentation: a text file of polygons per image, and class names in a YAML file.

https://docs.ultralytics.com/datasets/segment/
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from pipeline.errors import PipelineError
from pipeline.params.data.file_pattern import DEFAULT_PATTERNS
from pipeline.prepare.data_issues import IssueKind
from pipeline.prepare.formats.annotation_format import AnnotationFormat, FormatSettings, has_images
from pipeline.prepare.formats.annotations import AnnotatedImage, Annotations
from pipeline.prepare.formats.image_index import ImageIndex
from pipeline.prepare.read_file import read_limited

IMAGES, LABELS = "images", "labels"
_ENDING = ".txt"
_BOX_NUMBERS = 5
_MAX_FRACTION = 2.0  # larger coordinates are pixels instead of fractions of the image
_MAX_YAML_BYTES = 1_000_000


def find(folder: Path) -> FormatSettings | None:
    """Return the settings of a folder with a YAML file of names, and labels/ next to images/ or in each split."""
    for path in sorted([*folder.glob("*.yaml"), *folder.glob("*.yml")]):
        try:
            content = _load_yaml(path, "pipeline init")
        except PipelineError:
            continue
        if "names" not in content:
            continue
        if (folder / IMAGES).is_dir() and (folder / LABELS).is_dir():
            return FormatSettings(path.name, DEFAULT_PATTERNS[0])
        if any(has_images(images) and (images.parent / LABELS).is_dir() for images in folder.glob(f"*/{IMAGES}")):
            return FormatSettings(path.name, f"*/{IMAGES}/*")  # as Roboflow exports it
    return None


def read(annotations: str, index: ImageIndex, key: str) -> Annotations:
    """Read the annotations of a folder. An image without a text file has no objects.

    Raises:
        PipelineError: The YAML file cannot be read or has no names.
    """
    names = _read_names(index.folder / annotations, key)
    found = Annotations(categories=names)
    without_file = 0
    for name, path in sorted(index.files.by_id.items()):
        image = found.add_image([name], path, index.read_size(name))
        labels = _find_labels(index.folder, path)
        try:
            lines = read_limited(labels).decode("utf-8").splitlines()
        except FileNotFoundError:
            without_file += 1
            continue
        except (OSError, UnicodeDecodeError) as error:
            image.note(IssueKind.UNREADABLE, f"{labels.name}: {error}")
            continue
        for number, line in enumerate(lines, start=1):
            if line.strip():
                _add_line(image, number, line.split(), names)
    if without_file == len(found.images):
        raise PipelineError(
            f"{key}: none of the images in {index.folder} has a text file of labels. They must be in folders named "
            f"{LABELS} next to {IMAGES}, with the names of the images."
        )
    if without_file:
        found.notices.append(
            f"{without_file} of {len(found.images)} images have no text file in {LABELS}/, so they are all background."
        )
    return found


def _add_line(image: AnnotatedImage, number: int, fields: Sequence[str], names: dict[int, str]) -> None:
    """Add the object of a line: the number of its class, and the fractions x, y, x, y, ... of its polygon."""
    name = f"line {number}"
    try:
        values = [float(field) for field in fields]
    except ValueError:
        image.note(IssueKind.NO_GEOMETRY, f"{name}: not numbers")
        return
    category = int(values[0]) if values[0].is_integer() else None
    if category not in names:
        image.note(IssueKind.UNLISTED, f"{name}: class {fields[0]}")
    elif len(values) == _BOX_NUMBERS:
        image.note(IssueKind.NO_GEOMETRY, f"{name}: a box")
    elif not all(map(math.isfinite, values)) or max(map(abs, values[1:]), default=0) > _MAX_FRACTION:
        image.note(IssueKind.NO_GEOMETRY, f"{name}: coordinates that are not fractions of the image's size")
    elif image.size is not None:
        height, width = image.size
        scaled = [value * (height if place % 2 else width) for place, value in enumerate(values[1:])]
        image.add(name, number, category, False, [scaled])


def _find_labels(folder: Path, image: str) -> Path:
    """Return the text file of an image: in the last folder named images, replaced by labels."""
    parts = list(PurePosixPath(image).with_suffix(_ENDING).parts)
    for place in range(len(parts) - 2, -1, -1):
        if parts[place] == IMAGES:
            parts[place] = LABELS
            break
    return folder.joinpath(*parts)


def _read_names(path: Path, key: str) -> dict[int, str]:
    names = _load_yaml(path, key).get("names")
    if isinstance(names, list):
        names = dict(enumerate(names))
    if not isinstance(names, dict) or not names or not all(type(number) is int for number in names):
        raise PipelineError(f"{key}: {path} must have names: a list of class names, or a mapping from their numbers.")
    return {number: str(name) for number, name in names.items()}


def _load_yaml(path: Path, key: str) -> dict[str, Any]:
    try:
        # Not the parser in C, which crashes if brackets are nested deeply.
        content = YAML(typ="safe", pure=True).load(read_limited(path, _MAX_YAML_BYTES))
    except FileNotFoundError:
        raise PipelineError(f"{key}: {path} does not exist.") from None
    except OSError as error:
        raise PipelineError(f"{key}: {path} cannot be read ({error.strerror}).") from None
    except (YAMLError, ValueError, RecursionError) as error:
        raise PipelineError(f"{key}: {path} is not YAML ({str(error).splitlines()[0]}).") from None
    return content if isinstance(content, dict) else {}


YOLO = AnnotationFormat("yolo", "YOLO segmentation", find, read)
