"""Read and validate a JSON file of COCO instance annotations."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from PIL import Image
from pycocotools import mask as rle

from pipeline.errors import PipelineError
from pipeline.prepare.data_issues import IssueKind
from pipeline.prepare.sample_ids import find_id_problem, image_id
from pipeline.prepare.sources.coco_masks import find_segmentation_problem, to_rle
from pipeline.wording import join_names, pluralize

_MAX_TEXT = 120  # characters of a name shown in a message
_MAX_SIDE = 100_000  # px
_MAX_NAMED = 3  # annotations per image named in a message
_CROWD = {"": False, "0": False, "false": False, "1": True, "true": True}  # iscrowd as text
_PARTS = ("images", "annotations", "categories")


class CocoIssueKind(Enum):
    """A kind of invalid entry in an annotation file.

    Each value has three strings: a singular and a plural noun phrase for the entries, and advice on what to do.
    """

    ENTRY = (
        "entry that cannot be read",
        "entries that cannot be read",
        "An image must have an id and a file_name. A category must have a name and an id that is a whole number. An "
        "annotation must have an image_id and a category_id; iscrowd, if present, must be 0 or 1. Export the file "
        "again.",
    )
    ID = (
        "image id that is shared by several images",
        "image ids that are shared by several images",
        "Renumber the images, for example if files were merged.",
    )
    CATEGORY = (
        "category id that is shared by several names",
        "category ids that are shared by several names",
        "Renumber the categories.",
    )
    NAME = (
        "file name that cannot be used",
        "file names that cannot be used",
        "A file_name is the path below the image folder, with / between folders: correct it, and rename the file to "
        "match.",
    )
    DOUBLE = (
        "name that is shared by several images",
        "names that are shared by several images",
        "Names that differ only in the extension or in / versus __ count as the same (such as a/b.png, a/b.jpg and "
        "a__b.png): remove all but one, or rename the files.",
    )
    UNKNOWN = (
        "annotation of an image that is not in images",
        "annotations of images that are not in images",
        "Add the images' entries, or remove the annotations.",
    )
    PANOPTIC = (
        "panoptic annotation",
        "panoptic annotations",
        "Their masks are in separate PNG files: export instances as polygons or RLE.",
    )
    NO_MASK = (
        "annotation without a segmentation",
        "annotations without a segmentation",
        "Boxes and keypoints are not masks: export instances with their polygons or RLE.",
    )

    def __init__(self, singular: str, plural: str, remedy: str) -> None:
        self.singular, self.plural, self.remedy = singular, plural, remedy


@dataclass
class CocoImage:
    """Annotations of an image."""

    file_name: str  # path below the image folder, as written in the file
    size: tuple[int, int] | None  # height and width, px; None if invalid, which is an issue
    objects: Counter[int] = field(default_factory=Counter)  # valid annotations by category, without crowds
    crowds: Counter[int] = field(default_factory=Counter)  # valid crowds by category
    without_pixels: list[str] = field(default_factory=list)  # annotations that cover no pixel of the image
    object_outlines: list[str | bytes] = field(
        default_factory=list
    )  # RLE counts of annotations without crowds, each once
    crowd_outlines: list[str | bytes] = field(default_factory=list)  # RLE counts of crowds
    repeated: int = 0  # annotations with the same outline and category as another one
    conflicting: int = 0  # annotations with the same outline as another one, but a different category
    _entries: list[str] = field(default_factory=list)
    _categories_by_outline: dict[int, set[int]] = field(default_factory=dict)  # by the hash of the outline
    _issues: dict[IssueKind, list[str]] = field(default_factory=dict)

    @property
    def annotations(self) -> str:
        """Annotations as JSON for `draw_annotations`, sorted so that their order in the file has no effect."""
        return f"[{','.join(sorted(self._entries))}]"

    @property
    def issues(self) -> dict[IssueKind, str]:
        """Reasons why the image cannot be used, by kind."""
        return {kind: join_names(details, _MAX_NAMED) for kind, details in self._issues.items()}

    def add(self, name: str, number: int | None, category: int, crowd: bool, segmentation: Any) -> None:
        """Add an annotation, or an issue if its segmentation is invalid.

        Args:
            name: Name of the annotation in messages.
            number: Id of the annotation; None if it has none.
            category: Id of a category that the file lists.
            crowd: Whether the annotation is a crowd.
            segmentation: Value of `segmentation` in the file.
        """
        if mistake := find_segmentation_problem(segmentation, self.size) if segmentation else "no segmentation":
            self.note(IssueKind.NO_GEOMETRY, f"{name}: {mistake}")
            return
        outline = json.dumps(segmentation, sort_keys=True, separators=(",", ":"))
        # json.dumps() is not used here, because it would encode a long outline a second time.
        self._entries.append(
            f'{{"category_id":{category},"id":{number or 0},"iscrowd":{int(crowd)},"segmentation":{outline}}}'
        )
        (self.crowds if crowd else self.objects)[category] += 1
        known = set() if crowd else self._categories_by_outline.setdefault(hash(outline), set())
        if self.size is not None:
            encoded = to_rle(segmentation, *self.size)
            if not rle.area(encoded):
                self.without_pixels.append(truncate(name))
            if not known:  # repeated outlines are counted separately
                (self.crowd_outlines if crowd else self.object_outlines).append(encoded["counts"])
        if not crowd:
            self.repeated += category in known
            self.conflicting += bool(known - {category})
            known.add(category)

    def note(self, kind: IssueKind, detail: str) -> None:
        """Add a reason why the image cannot be used."""
        self._issues.setdefault(kind, []).append(truncate(detail))


def read_coco(path: Path, key: str) -> CocoAnnotations:
    """Read images, categories and annotations from a JSON file of COCO instance annotations.

    Args:
        path: Path of the file.
        key: Parameter that names the file, for messages.

    Raises:
        PipelineError: The file does not exist or has invalid entries; all kinds are reported with counts and examples.
    """
    coco = CocoAnnotations(_read_json(path, key))
    invalid = [
        f"{key}: {path}: {pluralize(len(entries), kind.singular, kind.plural)}: {join_names(entries)}. {kind.remedy}"
        for kind, entries in coco.invalid.items()
        if entries
    ]
    if invalid:
        raise PipelineError("\n".join(invalid))
    return coco


def _read_json(path: Path, key: str) -> dict[str, list[Any]]:
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise PipelineError(f"{key}: {path} does not exist. Set {key} to the COCO annotation file.") from None
    except OSError as error:
        raise PipelineError(f"{key}: {path} cannot be read ({error.strerror}).") from None
    except (ValueError, RecursionError) as error:  # invalid UTF-8, a number that is too long, or invalid JSON
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


class CocoAnnotations:
    """Images, categories and invalid entries in an annotation file."""

    def __init__(self, content: Mapping[str, list[Any]]) -> None:
        self.categories: dict[int, str] = {}  # names by category id
        self.images: dict[str, CocoImage] = {}  # by `image_id` of the file name
        self._by_number: dict[int | str, CocoImage] = {}  # by the ids in the file
        self.invalid: dict[CocoIssueKind, list[str]] = {kind: [] for kind in CocoIssueKind}
        self._add_categories(content["categories"])
        self._add_images(content["images"])
        self._add_annotations(content["annotations"])

    def _add_categories(self, entries: list[Any]) -> None:
        for where, entry in self._objects("categories", entries):
            number, name = _parse_int(entry.get("id")), entry.get("name")
            if number is None or not isinstance(name, str):
                self._note(CocoIssueKind.ENTRY, where, "id" if number is None else "name")
            elif (other := self.categories.setdefault(number, name)) != name:
                self._note(CocoIssueKind.CATEGORY, str(number), f"{other} and {name}")

    def _add_images(self, entries: list[Any]) -> None:
        for where, entry in self._objects("images", entries):
            number, name, size = _parse_image_id(entry.get("id")), entry.get("file_name"), _parse_size(entry)
            if number is None or not isinstance(name, str):
                self._note(CocoIssueKind.ENTRY, where, "id" if number is None else "file_name")
                continue
            image = CocoImage(name, size)
            if (other := self._by_number.setdefault(number, image)) is not image:
                self._note(CocoIssueKind.ID, str(number), f"{other.file_name} and {name}")
            if size is None:
                image.note(IssueKind.NO_SIZE, f"height {entry.get('height')!r}, width {entry.get('width')!r}")
            if mistake := _find_name_problem(name):
                self._note(CocoIssueKind.NAME, name, mistake)
            elif (other := self.images.setdefault(_make_id(name), image)) is not image:
                self._note(CocoIssueKind.DOUBLE, f"{other.file_name} and {name}")

    def _add_annotations(self, entries: list[Any]) -> None:
        num_annotations, without_segmentation = 0, []
        for where, entry in self._objects("annotations", entries):
            number, crowd = _parse_int(entry.get("id")), _parse_crowd(entry.get("iscrowd"))
            name = where if number is None else f"annotation {number}"
            key, category = _parse_image_id(entry.get("image_id")), _parse_int(entry.get("category_id"))
            num_annotations += 1
            if "segments_info" in entry:
                self._note(CocoIssueKind.PANOPTIC, name)
                continue
            if key is None or category is None or crowd is None:
                missing = "image_id" if key is None else "category_id" if category is None else "iscrowd"
                self._note(CocoIssueKind.ENTRY, name, missing)
                continue
            if not entry.get("segmentation"):
                without_segmentation.append(name)
            image = self._by_number.get(key)
            if image is None:
                self._note(CocoIssueKind.UNKNOWN, name, f"image {key}")
            elif category not in self.categories:
                image.note(IssueKind.UNLISTED, f"{name}: category {category}")
            else:
                image.add(name, number, category, crowd, entry.get("segmentation"))
        if len(without_segmentation) == num_annotations:
            self.invalid[CocoIssueKind.NO_MASK] = without_segmentation

    def _objects(self, part: str, entries: list[Any]) -> Iterator[tuple[str, dict[str, Any]]]:
        for place, entry in enumerate(entries):
            if isinstance(entry, dict):
                yield f"{part}[{place}]", entry
            else:
                self._note(CocoIssueKind.ENTRY, f"{part}[{place}]", "not an object")

    def _note(self, kind: CocoIssueKind, what: str, detail: str = "") -> None:
        self.invalid[kind].append(f"{truncate(what)} ({truncate(detail)})" if detail else truncate(what))


def _describe_type(value: object) -> str:
    """Name the type of a JSON value for a message."""
    if value is None:
        return "null"
    return {dict: "an object", list: "a list", str: "a string", bool: "true or false"}.get(type(value), "a number")


def _parse_int(value: object) -> int | None:
    """Convert a whole number, such as 3 or 3.0, to an integer. Return None for other values."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _parse_image_id(value: object) -> int | str | None:
    """Return an image id in the file if it is a whole number or a string. Return None for other values."""
    return value if isinstance(value, str) else _parse_int(value)


def _parse_crowd(value: object) -> bool | None:
    """Parse `iscrowd`: a number, a boolean, a string or null. Return None for other values."""
    if isinstance(value, str):
        return _CROWD.get(value.strip().lower())
    return bool(value) if value is None or (isinstance(value, int | float) and value in (0, 1)) else None


def _parse_size(entry: Mapping[str, Any]) -> tuple[int, int] | None:
    """Parse the height and width of an image in px. Return None if they are invalid or too large."""
    height, width = _parse_int(entry.get("height")), _parse_int(entry.get("width"))
    if height is None or width is None or not (0 < height <= _MAX_SIDE and 0 < width <= _MAX_SIDE):
        return None
    # Pillow does not decode larger images.
    return (height, width) if height * width <= 2 * (Image.MAX_IMAGE_PIXELS or 0) else None


def _find_name_problem(name: str) -> str:
    """Describe why a file name cannot be used, as a phrase that follows it. Return "" if it can."""
    path = PurePosixPath(name)
    if path.is_absolute() or PureWindowsPath(name).drive:
        return "is an absolute path"
    if ".." in path.parts:
        return "leads outside the folder"
    if "\\" in name:
        return "has backslashes"
    if not path.name:
        return "is empty"
    return find_id_problem(_make_id(name))


def _make_id(name: str) -> str:
    return image_id(str(PurePosixPath(name).with_suffix("")))


def truncate(text: str) -> str:
    """Shorten text from the file for a message."""
    return text if len(text) <= _MAX_TEXT else f"{text[:_MAX_TEXT]}..."
