"""Read and validate a file of COCO instances, as annotation tools export it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from PIL import Image
from pycocotools import mask as rle

from pipeline.errors import PipelineError
from pipeline.prepare.data_issues import IssueKind
from pipeline.prepare.sample_ids import count_and_list, find_id_problem, image_id, join_names
from pipeline.prepare.sources.coco_masks import find_segmentation_problem, to_rle

_MAX_TEXT = 120  # characters of a name that a message shows
_MAX_SIDE = 100_000  # px
_MAX_NAMED = 3  # annotations of one image that a message names
_CROWD = {"": False, "0": False, "false": False, "1": True, "true": True}  # iscrowd as text
_PARTS = ("images", "annotations", "categories")


class CocoIssueKind(Enum):
    """A kind of invalid entry in a file of annotations.

    Attributes:
        singular: noun phrase for one entry.
        plural: noun phrase for several.
        remedy: sentences on what to do.
    """

    ENTRY = (
        "entry that cannot be read",
        "entries that cannot be read",
        "An image must have an id and a file_name; a category an id, which is a whole number, and a name; an "
        "annotation an image_id, a category_id and, if any, an iscrowd of 0 or 1. Export the file again.",
    )
    ID = (
        "image id that stands for several images",
        "image ids that stand for several images",
        "Renumber the images; merged files need that.",
    )
    CATEGORY = (
        "category id that stands for several names",
        "category ids that stand for several names",
        "Renumber the categories.",
    )
    NAME = (
        "file name that cannot be used",
        "file names that cannot be used",
        "A file_name is the path below the images' folder, with / between folders: correct it, and rename the file "
        "likewise.",
    )
    DOUBLE = (
        "name that stands for several images",
        "names that stand for several images",
        "Names must differ in more than the extension and / or __ for folders (a/b.png, a/b.jpg and a__b.png are one "
        "name): remove all but one, or rename the files.",
    )
    UNKNOWN = (
        "annotation of an image that is not in images",
        "annotations of images that are not in images",
        "Add the images' entries, or remove the annotations.",
    )
    PANOPTIC = (
        "annotation of the panoptic kind",
        "annotations of the panoptic kind",
        "Their masks are PNG files beside this one: export instances, as polygons or RLE.",
    )
    NO_MASK = (
        "annotation without a segmentation",
        "annotations without a segmentation",
        "Boxes and keypoints are not masks: export instances with their polygons or RLE.",
    )

    def __init__(self, singular: str, plural: str, remedy: str) -> None:
        self.singular, self.plural, self.remedy = singular, plural, remedy


@dataclass(frozen=True)
class CocoImage:
    """Annotations of an image.

    Attributes:
        file_name: path below the folder of the images, as written.
        size: height and width, px; None if invalid, which is one of the issues.
        annotations: JSON that `draw_mask` reads; independent of the order of the annotations.
        objects: number of valid annotations by category, without crowds.
        crowds: number of valid crowds by category.
        without_pixels: annotations that cover no pixel of the image.
        repeated: number of annotations with the outline and the category of another one.
        conflicting: number of annotations with the outline of another one, but another category.
        issues: why the image cannot be used.
    """

    file_name: str
    size: tuple[int, int] | None
    annotations: str
    objects: Mapping[int, int]
    crowds: Mapping[int, int]
    without_pixels: tuple[str, ...]
    repeated: int
    conflicting: int
    issues: Mapping[IssueKind, str]


@dataclass(frozen=True)
class CocoAnnotations:
    """Images and categories of a file.

    Attributes:
        images: by id (`image_id` of the file name).
        categories: names by number.
    """

    images: dict[str, CocoImage]
    categories: dict[int, str]


def read_coco(path: Path, key: str) -> CocoAnnotations:
    """Read images, categories and masks from a file of COCO instances.

    Args:
        path: of the JSON.
        key: of the file in the parameters, for messages.

    Raises:
        PipelineError: The file does not exist or has invalid entries; all kinds are reported with counts and examples.
    """
    content = _read_json(path, key)
    reading = _AnnotationParser()
    reading.add_categories(content["categories"])
    reading.add_images(content["images"])
    reading.add_annotations(content["annotations"])
    if lines := reading.mistakes():
        raise PipelineError("\n".join(f"{key}: {path}: {line}" for line in lines))
    return reading.coco()


def _read_json(path: Path, key: str) -> dict[str, list[Any]]:
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise PipelineError(f"{key}: {path} does not exist. Set {key} to the file of COCO annotations.") from None
    except OSError as error:
        raise PipelineError(f"{key}: {path} cannot be read ({error.strerror}).") from None
    except (ValueError, RecursionError) as error:  # invalid UTF-8, too long a number, or invalid JSON
        raise PipelineError(f"{key}: {path} is not JSON ({error}). Export the file again.") from None
    if not isinstance(content, dict):
        raise PipelineError(
            f"{key}: {path} must be a JSON object with {', '.join(_PARTS)}, but is {_describe_type(content)}. Export "
            f"the annotations as COCO instances."
        )
    mistakes = [
        f"{key}: {path}: '{part}' must be a list, but is "
        f"{_describe_type(content[part]) if part in content else 'missing'}. Export the annotations as COCO instances."
        for part in _PARTS
        if not isinstance(content.get(part), list)
    ]
    if mistakes:
        raise PipelineError("\n".join(mistakes))
    return content


class _ImageBuilder:
    """Collects the annotations of one image."""

    def __init__(self, file_name: str, size: tuple[int, int] | None) -> None:
        self.file_name, self.size = file_name, size
        self._annotations: list[str] = []
        self._objects: Counter[int] = Counter()
        self._crowds: Counter[int] = Counter()
        self._without_pixels: list[str] = []
        self._categories_of: dict[int, set[int]] = {}  # by the hash of the outline
        self._repeated = self._conflicting = 0
        self._issues: dict[IssueKind, list[str]] = {}

    def add(self, name: str, number: int | None, category: int, crowd: bool, segmentation: Any) -> None:
        """Add an annotation whose category is known."""
        if mistake := find_segmentation_problem(segmentation, self.size) if segmentation else "no segmentation":
            self.note(IssueKind.NO_GEOMETRY, f"{name}: {mistake}")
            return
        outline = json.dumps(segmentation, sort_keys=True, separators=(",", ":"))
        # Formatted here, so that a long outline is encoded only once.
        self._annotations.append(
            f'{{"category_id":{category},"id":{number or 0},"iscrowd":{int(crowd)},"segmentation":{outline}}}'
        )
        (self._crowds if crowd else self._objects)[category] += 1
        if self.size is not None and not rle.area(to_rle(segmentation, *self.size)):
            self._without_pixels.append(truncate(name))
        if not crowd:
            known = self._categories_of.setdefault(hash(outline), set())
            self._repeated += category in known
            self._conflicting += bool(known - {category})
            known.add(category)

    def note(self, kind: IssueKind, detail: str) -> None:
        """Add a reason why the image cannot be used."""
        self._issues.setdefault(kind, []).append(truncate(detail))

    def image(self) -> CocoImage:
        """Build the annotations of the image."""
        return CocoImage(
            file_name=self.file_name,
            size=self.size,
            annotations=f"[{','.join(sorted(self._annotations))}]",  # sorted, so that their order does not matter
            objects=self._objects,
            crowds=self._crowds,
            without_pixels=tuple(self._without_pixels),
            repeated=self._repeated,
            conflicting=self._conflicting,
            issues={kind: join_names(details, _MAX_NAMED) for kind, details in self._issues.items()},
        )


class _AnnotationParser:
    """Collects images, categories and invalid entries of a file."""

    def __init__(self) -> None:
        self._wrong: dict[CocoIssueKind, list[str]] = {kind: [] for kind in CocoIssueKind}
        self._categories: dict[int, str] = {}
        self._images: dict[int | str, _ImageBuilder] = {}  # by the ids in the file
        self._by_name: dict[str, _ImageBuilder] = {}
        self._without_segmentation: list[str] = []  # annotations
        self._annotations = 0

    def add_categories(self, entries: list[Any]) -> None:
        for where, entry in self._objects("categories", entries):
            number, name = _parse_int(entry.get("id")), entry.get("name")
            if number is None or not isinstance(name, str):
                self._note(CocoIssueKind.ENTRY, where, "id" if number is None else "name")
            elif (other := self._categories.setdefault(number, name)) != name:
                self._note(CocoIssueKind.CATEGORY, str(number), f"{other} and {name}")

    def add_images(self, entries: list[Any]) -> None:
        for where, entry in self._objects("images", entries):
            number, name, size = _parse_image_id(entry.get("id")), entry.get("file_name"), _parse_size(entry)
            if number is None or not isinstance(name, str):
                self._note(CocoIssueKind.ENTRY, where, "id" if number is None else "file_name")
                continue
            image = _ImageBuilder(name, size)
            if (other := self._images.setdefault(number, image)) is not image:
                self._note(CocoIssueKind.ID, str(number), f"{other.file_name} and {name}")
            if size is None:
                image.note(IssueKind.NO_SIZE, f"height {entry.get('height')!r}, width {entry.get('width')!r}")
            if mistake := _find_name_problem(name):
                self._note(CocoIssueKind.NAME, name, mistake)
            elif (other := self._by_name.setdefault(_make_id(name), image)) is not image:
                self._note(CocoIssueKind.DOUBLE, f"{other.file_name} and {name}")

    def add_annotations(self, entries: list[Any]) -> None:
        for where, entry in self._objects("annotations", entries):
            number, crowd = _parse_int(entry.get("id")), _parse_crowd(entry.get("iscrowd"))
            name = where if number is None else f"annotation {number}"
            key, category = _parse_image_id(entry.get("image_id")), _parse_int(entry.get("category_id"))
            self._annotations += 1
            if "segments_info" in entry:
                self._note(CocoIssueKind.PANOPTIC, name)
                continue
            if key is None or category is None or crowd is None:
                missing = "image_id" if key is None else "category_id" if category is None else "iscrowd"
                self._note(CocoIssueKind.ENTRY, name, missing)
                continue
            if not entry.get("segmentation"):
                self._without_segmentation.append(name)
            image = self._images.get(key)
            if image is None:
                self._note(CocoIssueKind.UNKNOWN, name, f"image {key}")
            elif category not in self._categories:
                image.note(IssueKind.UNLISTED, f"{name}: category {category}")
            else:
                image.add(name, number, category, crowd, entry.get("segmentation"))

    def mistakes(self) -> list[str]:
        """Describe invalid entries, one line per kind."""
        if len(self._without_segmentation) == self._annotations:
            self._wrong[CocoIssueKind.NO_MASK] = self._without_segmentation
        return [
            f"{count_and_list(kind.singular, kind.plural, wrong)}. {kind.remedy}"
            for kind, wrong in self._wrong.items()
            if wrong
        ]

    def coco(self) -> CocoAnnotations:
        """Build the annotations of a valid file."""
        return CocoAnnotations({name: image.image() for name, image in self._by_name.items()}, self._categories)

    def _objects(self, part: str, entries: list[Any]) -> Iterator[tuple[str, dict[str, Any]]]:
        for place, entry in enumerate(entries):
            if isinstance(entry, dict):
                yield f"{part}[{place}]", entry
            else:
                self._note(CocoIssueKind.ENTRY, f"{part}[{place}]", "no object")

    def _note(self, kind: CocoIssueKind, what: str, detail: str = "") -> None:
        self._wrong[kind].append(f"{truncate(what)} ({truncate(detail)})" if detail else truncate(what))


def _describe_type(value: object) -> str:
    """Name the type of a JSON value for a message."""
    if value is None:
        return "null"
    return {dict: "an object", list: "a list", str: "a text", bool: "true or false"}.get(type(value), "a number")


def _parse_int(value: object) -> int | None:
    """Return a whole number, also if written as 3.0; None for anything else."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _parse_image_id(value: object) -> int | str | None:
    """Return the id of an image in the file, a whole number or a text; None for anything else."""
    return value if isinstance(value, str) else _parse_int(value)


def _parse_crowd(value: object) -> bool | None:
    """Read `iscrowd`, also as a boolean or a text; None for anything else."""
    if isinstance(value, str):
        return _CROWD.get(value.strip().lower())
    return bool(value) if value is None or (isinstance(value, int | float) and value in (0, 1)) else None


def _parse_size(entry: Mapping[str, Any]) -> tuple[int, int] | None:
    """Read height and width, px; None if they are invalid or too large."""
    height, width = _parse_int(entry.get("height")), _parse_int(entry.get("width"))
    if height is None or width is None or not (0 < height <= _MAX_SIDE and 0 < width <= _MAX_SIDE):
        return None
    # The limit of Pillow.
    return (height, width) if height * width <= 2 * (Image.MAX_IMAGE_PIXELS or 0) else None


def _find_name_problem(name: str) -> str:
    """Describe why a file name cannot be used, in words that follow it; empty if it can."""
    path = PurePosixPath(name)
    if path.is_absolute() or PureWindowsPath(name).drive:
        return "is an absolute path"
    if ".." in path.parts:
        return "leads out of the folder"
    if "\\" in name:
        return "has backslashes"
    if not path.name:
        return "is empty"
    return find_id_problem(_make_id(name))


def _make_id(name: str) -> str:
    return image_id(str(PurePosixPath(name).with_suffix("")))


def truncate(text: str) -> str:
    """Shorten a text from the file for a message."""
    return text if len(text) <= _MAX_TEXT else f"{text[:_MAX_TEXT]}..."
