"""What every reader of an annotation format returns: categories, and the outlines of objects by image."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

from PIL import Image
from pycocotools import mask as rle

from pipeline.prepare.data_issues import DataIssue, IssueKind
from pipeline.prepare.formats.outlines import find_segmentation_problem, to_rle
from pipeline.prepare.sample_ids import find_id_problem, to_image_id
from pipeline.wording import join_names

_MAX_TEXT = 120  # characters of a name shown in a message
_MAX_SIDE = 100_000  # px
_MAX_NAMED = 3  # annotations per image named in a message


@dataclass
class AnnotatedImage:
    """Annotations of an image."""

    file_name: str  # as written in the annotations, for messages
    size: tuple[int, int] | None  # height and width, px; None if invalid, which is an issue
    objects: Counter[int] = field(default_factory=Counter)  # valid annotations by category, without crowds
    crowds: Counter[int] = field(default_factory=Counter)  # valid crowds by category
    without_pixels: list[str] = field(default_factory=list)  # annotations that cover no pixel of the image
    object_outlines: list[str | bytes] = field(default_factory=list)  # RLE counts, without crowds, each once
    crowd_outlines: list[str | bytes] = field(default_factory=list)  # RLE counts of crowds
    repeated: int = 0  # annotations with the same outline and category as another one
    conflicting: int = 0  # annotations with the same outline as another one, but a different category
    rectangles: int = 0  # annotations that are drawn from a bounding box
    mask: str = ""  # mask of the pair, in formats whose masks are files instead of outlines
    _entries: list[str] = field(default_factory=list)
    _categories_by_outline: dict[int, set[int]] = field(default_factory=dict)  # by the hash of the outline
    _first_parts: dict[tuple[int, object], int] = field(default_factory=dict)  # numbers by category and group
    _issues: dict[IssueKind, list[str]] = field(default_factory=dict)

    @property
    def annotations(self) -> str:
        """Annotations as JSON for `draw_annotations`, sorted so that their order in the file has no effect."""
        return f"[{','.join(sorted(self._entries))}]"

    @property
    def issues(self) -> dict[IssueKind, str]:
        """Reasons why the image cannot be used, by kind."""
        return {kind: join_names(details, _MAX_NAMED) for kind, details in self._issues.items()}

    def add(
        self,
        name: str,
        number: int | None,
        category: int,
        crowd: bool,
        segmentation: Any,
        layer: int = 0,
        group: float | str | None = None,
    ) -> None:
        """Add an annotation, or an issue if its segmentation is invalid.

        Args:
            name: Name of the annotation in messages.
            number: Id of the annotation; None if it has none.
            category: Id of a category that the file lists.
            crowd: Whether the annotation is a crowd.
            segmentation: Polygons or RLE as in COCO.
            layer: Higher layers are drawn over lower ones; in the same layer, small objects are on top.
            group: Id that the parts of an object share, which have the same category; None for a whole object.
        """
        if mistake := find_segmentation_problem(segmentation, self.size) if segmentation else "no segmentation":
            self.note(IssueKind.NO_GEOMETRY, f"{name}: {mistake}")
            return
        outline = json.dumps(segmentation, sort_keys=True, separators=(",", ":"))
        # json.dumps() is not used here, because it would encode a long outline a second time.
        order = f'"layer":{layer},' if layer else ""
        first = None if group is None else self._first_parts.setdefault((category, group), number or 0)
        part = "" if first is None else f'"object":{first},'
        self._entries.append(
            f'{{"category_id":{category},"id":{number or 0},"iscrowd":{int(crowd)},{order}{part}'
            f'"segmentation":{outline}}}'
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


@dataclass
class Annotations:
    """Categories and annotated images of a data set."""

    categories: dict[int, str] = field(default_factory=dict)  # names by category id
    images: dict[str, AnnotatedImage] = field(default_factory=dict)  # by image id
    issues: list[DataIssue] = field(default_factory=list)  # issues with annotations that belong to no image
    notices: list[str] = field(default_factory=list)  # sentences about possible mistakes
    _numbers: dict[str, int] = field(default_factory=dict)

    def number_category(self, name: str) -> int:
        """Return the id of a category, which is added if it is new. Only for formats without ids."""
        number = self._numbers.setdefault(name, len(self._numbers) + 1)
        self.categories.setdefault(number, name)
        return number

    def add_image(self, names: Sequence[str], file_name: str, size: tuple[int, int] | None) -> AnnotatedImage:
        """Add an image.

        Args:
            names: Id of the image file. No file or several files are an issue.
            file_name: Name of the image in the annotations.
            size: Height and width in px; None if they are invalid.

        Returns:
            The image. If it is annotated twice, which is an issue, the further annotations are not used.
        """
        image = AnnotatedImage(file_name, size)
        if len(names) > 1:
            detail = f"the end of the paths of {join_names(names, _MAX_NAMED)}"
            self.issues += [DataIssue(IssueKind.DOUBLE, name, truncate(file_name), truncate(detail)) for name in names]
            return image
        name = names[0] if names else make_id(file_name)
        if (other := self.images.setdefault(name, image)) is not image:
            other.note(IssueKind.DOUBLE, f"annotated as {truncate(other.file_name)} and {truncate(file_name)}")
        elif size is None:
            image.note(IssueKind.NO_SIZE, "no valid height and width")
        return image


def parse_size(height: object, width: object) -> tuple[int, int] | None:
    """Parse the height and width of an image in px. Return None if they are invalid or too large."""
    high, wide = parse_int(height), parse_int(width)
    if high is None or wide is None or not (0 < high <= _MAX_SIDE and 0 < wide <= _MAX_SIDE):
        return None
    # Pillow does not decode larger images.
    return (high, wide) if high * wide <= 2 * (Image.MAX_IMAGE_PIXELS or 0) else None


def parse_int(value: object) -> int | None:
    """Convert a whole number, such as 3 or 3.0, to an integer. Return None for other values."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def find_name_problem(name: str) -> str:
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
    return find_id_problem(make_id(name))


def make_id(name: str) -> str:
    """Make the id of an image from its path."""
    return to_image_id(str(PurePosixPath(name).with_suffix("")))


def truncate(text: str) -> str:
    """Shorten text from the file for a message."""
    return text if len(text) <= _MAX_TEXT else f"{text[:_MAX_TEXT]}..."
