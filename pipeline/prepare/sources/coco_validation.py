"""What may be wrong with a file of COCO's instances as a whole, and what to do about it."""

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
    """A kind of mistake: what is wrong with the one thing that follows, or with several, and what to do."""

    ENTRY = (
        "entry that cannot be read",
        "entries that cannot be read",
        "An image must have an id and a file_name; a category an id, which is a whole number, and a name; an "
        "annotation an image_id, a category_id and, if any, an iscrowd of 0 or 1. Export the file anew.",
    )
    ID = (
        "image id that stands for several images",
        "image ids that stand for several images",
        "Number the images anew; files that were joined need that.",
    )
    CATEGORY = (
        "category id that stands for several names",
        "category ids that stand for several names",
        "Number the categories anew.",
    )
    NAME = (
        "file name that cannot be used",
        "file names that cannot be used",
        "A file_name is the path below the images' folder, with / between folders: mend it, and rename the file "
        "likewise.",
    )
    DOUBLE = (
        "name that stands for several images",
        "names that stand for several images",
        "The ending and the folder's / do not tell images apart (a/b.png, a/b.jpg and a__b.png are one name): remove "
        "all but one, or rename the files.",
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

    def __init__(self, single: str, several: str, remedy: str) -> None:
        self.single, self.several, self.remedy = single, several, remedy


@dataclass(frozen=True)
class CocoImage:
    """What the file says of an image."""

    file_name: str  # as written: the path below the images' folder, and not out of it
    size: tuple[int, int] | None  # height and width in px; None: not usable, which is one of the issues
    annotations: str  # JSON of what `draw` draws by; the same annotations in any order give the same text
    objects: Mapping[int, int]  # annotations that can be drawn by category, without crowds
    crowds: Mapping[int, int]  # the same of crowds
    without_pixels: tuple[str, ...]  # annotations that cover no pixel of the image
    repeated: int  # annotations with the outline and the category of another one
    conflicting: int  # annotations with the outline of another one, but another category
    issues: Mapping[IssueKind, str]  # why the image cannot be used


@dataclass(frozen=True)
class CocoAnnotations:
    """Images and categories of a file."""

    images: dict[str, CocoImage]  # by what `image_id` makes of the file's name, without its ending
    categories: dict[int, str]


def read_coco(path: Path, key: str) -> CocoAnnotations:
    """Read a file of COCO's instances; what it says beside images, categories and masks is passed over.

    Args:
        path: of the JSON.
        key: that it stands under in the parameters, for messages.

    Raises:
        PipelineError: There is no such file, or something in it is wrong: all that is, with counts and the first ten.
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
        raise PipelineError(f"{key}: there is no {path}. Set {key} to the file of COCO's instances.") from None
    except OSError as error:
        raise PipelineError(f"{key}: {path} cannot be read ({error.strerror}).") from None
    except (ValueError, RecursionError) as error:  # bytes that are no text, too long a number, and what is no JSON
        raise PipelineError(f"{key}: {path} is no JSON ({error}). Export the file anew.") from None
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
    """The data of one image, gathered entry by entry."""

    def __init__(self, file_name: str, size: tuple[int, int] | None) -> None:
        self.file_name, self.size = file_name, size
        self._annotations: list[str] = []
        self._objects: Counter[int] = Counter()
        self._crowds: Counter[int] = Counter()
        self._without_pixels: list[str] = []
        self._categories_of: dict[int, set[int]] = {}  # by the hash of the outline, which may be long
        self._repeated = self._conflicting = 0
        self._issues: dict[IssueKind, list[str]] = {}

    def add(self, name: str, number: int | None, category: int, crowd: bool, segmentation: Any) -> None:
        """Add an annotation whose category is known."""
        if mistake := find_segmentation_problem(segmentation, self.size) if segmentation else "no segmentation":
            self.note(IssueKind.NO_GEOMETRY, f"{name}: {mistake}")
            return
        outline = json.dumps(segmentation, sort_keys=True, separators=(",", ":"))
        # Written by hand so that a long outline is encoded only once.
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
        """Return the gathered data."""
        return CocoImage(
            file_name=self.file_name,
            size=self.size,
            annotations=f"[{','.join(sorted(self._annotations))}]",  # sorted: the order must not matter
            objects=self._objects,
            crowds=self._crowds,
            without_pixels=tuple(self._without_pixels),
            repeated=self._repeated,
            conflicting=self._conflicting,
            issues={kind: join_names(details, _MAX_NAMED) for kind, details in self._issues.items()},
        )


class _AnnotationParser:
    """Gathers what a file says, and what is wrong with it."""

    def __init__(self) -> None:
        self._wrong: dict[CocoIssueKind, list[str]] = {kind: [] for kind in CocoIssueKind}
        self._categories: dict[int, str] = {}
        self._images: dict[int | str, _ImageBuilder] = {}  # by the file's own ids
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
                lacks = "image_id" if key is None else "category_id" if category is None else "iscrowd"
                self._note(CocoIssueKind.ENTRY, name, lacks)
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
        """A line a kind."""
        if len(self._without_segmentation) == self._annotations:
            self._wrong[CocoIssueKind.NO_MASK] = self._without_segmentation
        return [
            f"{count_and_list(kind.single, kind.several, wrong)}. {kind.remedy}"
            for kind, wrong in self._wrong.items()
            if wrong
        ]

    def coco(self) -> CocoAnnotations:
        """What the file says, if nothing is wrong with it."""
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
    """What a value of JSON is, for a message."""
    if value is None:
        return "null"
    return {dict: "an object", list: "a list", str: "a text", bool: "true or false"}.get(type(value), "a number")


def _parse_int(value: object) -> int | None:
    """A whole number; some tools write 3.0 for 3."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _parse_image_id(value: object) -> int | str | None:
    """An image's id in the file: a whole number, or a text as some tools write."""
    return value if isinstance(value, str) else _parse_int(value)


def _parse_crowd(value: object) -> bool | None:
    """Read `iscrowd`, also as true, false or text, as some tools write it; None if it is none of these."""
    if isinstance(value, str):
        return _CROWD.get(value.strip().lower())
    return bool(value) if value is None or (isinstance(value, int | float) and value in (0, 1)) else None


def _parse_size(entry: Mapping[str, Any]) -> tuple[int, int] | None:
    """Height and width in px, where they can be those of a picture."""
    height, width = _parse_int(entry.get("height")), _parse_int(entry.get("width"))
    if height is None or width is None or not (0 < height <= _MAX_SIDE and 0 < width <= _MAX_SIDE):
        return None
    # As many pixels as Pillow decodes.
    return (height, width) if height * width <= 2 * (Image.MAX_IMAGE_PIXELS or 0) else None


def _find_name_problem(name: str) -> str:
    """Why a file's name cannot be used, in words that follow it; empty where it can."""
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
    """A text of the file's, no longer than a line may be."""
    return text if len(text) <= _MAX_TEXT else f"{text[:_MAX_TEXT]}..."
