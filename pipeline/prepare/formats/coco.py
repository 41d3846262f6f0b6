"""COCO instances: a JSON file with images, categories and annotations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import Enum
from pathlib import Path
from typing import Any

from pipeline.errors import PipelineError
from pipeline.params.data.file_pattern import DEFAULT_PATTERNS
from pipeline.prepare.data_issues import IssueKind
from pipeline.prepare.formats.annotation_format import AnnotationFormat, FormatSettings
from pipeline.prepare.formats.annotations import (
    AnnotatedImage,
    Annotations,
    find_name_problem,
    make_id,
    parse_int,
    parse_size,
    truncate,
)
from pipeline.prepare.formats.image_index import ImageIndex
from pipeline.prepare.formats.safe_files import describe_type, load_json
from pipeline.prepare.sources.image_files import IMAGES
from pipeline.wording import join_names, pluralize

_PREFIX = f"{IMAGES}__"  # start of ids if file_name includes the image folder
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
        "Their masks are PNG files: set data.source: coco_panoptic, or export instances as polygons or RLE.",
    )
    NO_MASK = (
        "annotation without a segmentation",
        "annotations without a segmentation",
        "Boxes and keypoints are not masks: export instances with their polygons or RLE.",
    )

    def __init__(self, singular: str, plural: str, remedy: str) -> None:
        self.singular, self.plural, self.remedy = singular, plural, remedy


def find(folder: Path) -> FormatSettings | None:
    """Return the settings of a folder with images/ and a JSON file.

    Raises:
        PipelineError: There are several JSON files.
    """
    if not (folder / IMAGES).is_dir():
        return None
    found = sorted([*folder.glob("*.json"), *folder.glob("annotations/*.json")])
    # COCO's own folder also has captions and keypoints.
    exports = [file for file in found if file.name.startswith("instances")] or found
    if len(exports) > 1:
        raise PipelineError(
            f"pipeline init: {folder} has several JSON files: "
            f"{join_names(file.relative_to(folder) for file in exports)}. Keep one of them, or write the section by "
            f"hand; see docs/how-to/coco-annotations.md."
        )
    return FormatSettings(exports[0].relative_to(folder).as_posix(), DEFAULT_PATTERNS[0]) if exports else None


def read(annotations: str, index: ImageIndex, key: str) -> Annotations:
    """Read the annotations of a folder. Raise `PipelineError` if the file does not exist or has invalid entries."""
    coco = read_coco(index.folder / annotations, key)
    by_id = index.files.by_id
    images = {name if name in by_id else name.removeprefix(_PREFIX): image for name, image in coco.images.items()}
    return Annotations(coco.categories, images)


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
    content: dict[str, list[Any]] = load_json(path, key, dict)
    mistakes = [
        f"{key}: {path}: '{part}' must be a list, but is "
        f"{describe_type(content[part]) if part in content else 'missing'}. Export the annotations as COCO instances."
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
        self.images: dict[str, AnnotatedImage] = {}  # by `image_id` of the file name
        self._by_number: dict[int | str, AnnotatedImage] = {}  # by the ids in the file
        self.invalid: dict[CocoIssueKind, list[str]] = {kind: [] for kind in CocoIssueKind}
        self._add_categories(content["categories"])
        self._add_images(content["images"])
        self._add_annotations(content["annotations"])

    def _add_categories(self, entries: list[Any]) -> None:
        for where, entry in self._objects("categories", entries):
            number, name = parse_int(entry.get("id")), entry.get("name")
            if number is None or not isinstance(name, str):
                self._note(CocoIssueKind.ENTRY, where, "id" if number is None else "name")
            elif (other := self.categories.setdefault(number, name)) != name:
                self._note(CocoIssueKind.CATEGORY, str(number), f"{other} and {name}")

    def _add_images(self, entries: list[Any]) -> None:
        for where, entry in self._objects("images", entries):
            number, name, size = (
                _parse_image_id(entry.get("id")),
                entry.get("file_name"),
                parse_size(entry.get("height"), entry.get("width")),
            )
            if number is None or not isinstance(name, str):
                self._note(CocoIssueKind.ENTRY, where, "id" if number is None else "file_name")
                continue
            image = AnnotatedImage(name, size)
            if (other := self._by_number.setdefault(number, image)) is not image:
                self._note(CocoIssueKind.ID, str(number), f"{other.file_name} and {name}")
            if size is None:
                image.note(IssueKind.NO_SIZE, f"height {entry.get('height')!r}, width {entry.get('width')!r}")
            if mistake := find_name_problem(name):
                self._note(CocoIssueKind.NAME, name, mistake)
            elif (other := self.images.setdefault(make_id(name), image)) is not image:
                self._note(CocoIssueKind.DOUBLE, f"{other.file_name} and {name}")

    def _add_annotations(self, entries: list[Any]) -> None:
        num_annotations, without_segmentation = 0, []
        for where, entry in self._objects("annotations", entries):
            number, crowd = parse_int(entry.get("id")), _parse_crowd(entry.get("iscrowd"))
            name = where if number is None else f"annotation {number}"
            key, category = _parse_image_id(entry.get("image_id")), parse_int(entry.get("category_id"))
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


def _parse_image_id(value: object) -> int | str | None:
    """Return an image id in the file if it is a whole number or a string. Return None for other values."""
    return value if isinstance(value, str) else parse_int(value)


def _parse_crowd(value: object) -> bool | None:
    """Parse `iscrowd`: a number, a boolean, a string or null. Return None for other values."""
    if isinstance(value, str):
        return _CROWD.get(value.strip().lower())
    return bool(value) if value is None or (isinstance(value, int | float) and value in (0, 1)) else None


COCO = AnnotationFormat("coco", "COCO", find, read)
