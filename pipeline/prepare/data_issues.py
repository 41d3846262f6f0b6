"""Issues with a source's files, which are reported all at once so that a user can fix them together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from pipeline.errors import PipelineError
from pipeline.imaging.decode import ENDINGS
from pipeline.wording import escape_unprintable, join_names, pluralize

MIN_SOFT_VALUES = 3  # with at least this many undeclared values, masks may be soft

_SUPPORTED = f"supported extensions: {', '.join(ENDINGS)}"


class IssueKind(Enum):
    """A kind of issue with a file.

    Each value has four strings: a singular and a plural noun phrase for files with the issue, a phrase that follows the
    name of a skipped file, and advice on what to do. The advice is empty if it depends on the files.
    """

    NO_MASK = (
        "image without a mask",
        "images without a mask",
        "has no mask",
        f"Add a mask whose path matches data.masks with the same texts ({_SUPPORTED}, .gif), or remove the image.",
    )
    NO_IMAGE = (
        "mask without an image",
        "masks without an image",
        "is a mask without an image",
        f"Add an image whose path matches data.images with the same texts ({_SUPPORTED}), or remove the mask.",
    )
    NO_FILE = (
        "image that is listed in the annotations but is missing",
        "images that are listed in the annotations but are missing",
        "is missing, but is listed in the annotations",
        "Add the file, or export the annotations again without it.",
    )
    NO_TRUTH = (
        "image that is not listed in the annotations",
        "images that are not listed in the annotations",
        "is not listed in the annotations",
        "Export the annotations of all images, or remove the image.",
    )
    DOUBLE = (
        "name that is shared by several files",
        "names that are shared by several files",
        "is the name of several files",
        "Names that differ only in the extension, in / versus __, or in the Unicode form count as the same (such as "
        "a/b.png, a/b.jpg and a__b.png): rename or remove all but one.",
    )
    NAME = (
        "name that cannot be used",
        "names that cannot be used",
        "has a name that cannot be used",
        "Rename the image and its mask.",
    )
    NO_GROUP = (
        "name in which data.splits.group_regex finds no group",
        "names in which data.splits.group_regex finds no group",
        "has a name in which data.splits.group_regex finds no group",
        "Correct the pattern, or give these images a group in the list of splits.",
    )
    UNREADABLE = (
        "file that cannot be used",
        "files that cannot be used",
        "cannot be used",
        "Save the file again with the program that wrote it, or remove the image and its mask.",
    )
    SIZES = (
        "mask with a different size than its image",
        "masks with different sizes than their images",
        "has a different size than its image",
        "A mask must be the same size as its image: export it again. Sizes are width × height after applying the EXIF "
        "orientation; if masks cover the stored pixels, write mask_orientation: stored.",
    )
    GEOMETRY = (
        "mask with a different shape or geometry than its image",
        "masks with different shapes or geometries than their images",
        "has a different shape or geometry than its image",
        "A mask must have the same pixels or voxels as its image: the same shape and, in NIfTI files, the same affine, "
        "or in GeoTIFFs, the same CRS and transform. Resample it to the image's grid.",
    )
    ORIENTATION = (
        "mask whose orientation is ambiguous",
        "masks whose orientation is ambiguous",
        "has an ambiguous orientation",
        "The images have an EXIF orientation but their masks do not, and the sizes match either way: write "
        "mask_orientation: upright if the masks were drawn over the images as viewers show them, or mask_orientation: "
        "stored if they were drawn over the stored pixels.",
    )
    PALETTE = (
        "mask with a different palette than the others",
        "masks with a different palette than the others",
        "has a different palette than the others",
        "An index must have the same color in all masks: write each class's mask_value as a color, such as "
        '"#00ff00", or save all masks with the same palette.',
    )
    VALUES = (
        "mask with values that no class declares",
        "masks with values that no class declares",
        "has values that no class declares",
        "",
    )
    CATEGORIES = (
        "image with objects of categories that no class declares",
        "images with objects of categories that no class declares",
        "has objects of categories that no class declares",
        "",
    )
    NO_GEOMETRY = (
        "image with annotations that cannot be drawn",
        "images with annotations that cannot be drawn",
        "has annotations that cannot be drawn",
        "Draw these objects again, or remove their annotations. Boxes and keypoints are not masks.",
    )
    OUTSIDE = (
        "image that no polygon of its file overlaps",
        "images that no polygon of their files overlaps",
        "is overlapped by no polygon of its file",
        "Check the CRS of the image and of the polygons, and that both show the same place. For an image without "
        "objects, save a file without polygons.",
    )
    UNLISTED = (
        "image with annotations of categories that are not listed",
        "images with annotations of categories that are not listed",
        "has annotations of categories that are not listed",
        "Add the categories to the list of categories in the annotations, or remove these annotations.",
    )
    NO_SIZE = (
        "image without a usable height and width in the annotations",
        "images without a usable height and width in the annotations",
        "has no usable height and width in the annotations",
        "They must be the image's height and width in whole pixels: export the annotations again.",
    )
    DEPTH = (
        "image with a different number of channels or bits than the first image",
        "images with a different number of channels or bits than the first image",
        "has a different number of channels or bits than the first image",
        "All must have the same number of channels and bits: save them in the same format. Gray images with 8 bits are "
        "read as RGB, with 3 channels.",
    )
    LOOKS_ALIKE = (
        "image that looks the same as one in another split",
        "images that look the same as one in another split",
        "looks the same as one in another split",
        "Near-duplicates across splits leak training data into evaluation: remove all but one of each, or give them "
        "the same group in the list of splits. `pipeline data check` draws the pairs; if they are different, list "
        "them in near_duplicates.distinct, or set stricter limits there.",
    )

    def __init__(self, singular: str, plural: str, reason: str, remedy: str) -> None:
        self.singular, self.plural, self.reason, self.remedy = singular, plural, reason, remedy


@dataclass(frozen=True)
class DataIssue:
    """An issue that makes a pair or a file unusable."""

    kind: IssueKind
    id: str  # of the pair, or of a file that is in no pair
    file: str
    detail: str = ""  # shown after the file
    undeclared: Mapping[str, int] = field(default_factory=dict)  # number of pixels by value, or of objects by category

    def __str__(self) -> str:
        """Format the file name and the detail."""
        return f"{escape_unprintable(self.file)} ({self.detail})" if self.detail else escape_unprintable(self.file)

    @property
    def reason(self) -> str:
        """Reason why the pair was skipped."""
        return f"{self.kind.reason}: {self}"


@dataclass(frozen=True)
class IssueGroup:
    """All issues of one kind."""

    kind: IssueKind
    issues: tuple[DataIssue, ...]  # sorted by file
    title: str  # number of files, and what is wrong with them
    remedy: str


class InvalidFilesError(PipelineError):
    """An error about invalid files, and possibly about something else that is wrong with the source.

    Attributes:
        issues: All issues with the files.
        key: Key of the section in `params.yaml`.
        folder: Folder that contains the files, which may be an unpacked archive.
        images: File of the image by id, for issues with pairs.
        other: Another error, which the message ends with.
    """

    def __init__(
        self,
        issues: Sequence[DataIssue],
        key: str,
        folder: Path,
        path: str,
        images: Mapping[str, str],
        other: PipelineError | None = None,
    ) -> None:
        self.issues, self.key, self.folder, self.images, self.other = tuple(issues), key, folder, images, other
        lines = [f"{group.title}: {join_names(group.issues)}. {group.remedy}" for group in group_issues(issues, key)]
        if advice := describe_skipping(issues, key):
            lines.append(advice)
        message = "\n".join(f"{key}.path: {path}: {line}" for line in lines)
        super().__init__(f"{message}\n{other}" if other else message)


def group_issues(issues: Sequence[DataIssue], key: str) -> list[IssueGroup]:
    """Group issues by kind, with a title and advice for each kind; `key` is the section's key in `params.yaml`."""
    groups = []
    for kind in IssueKind:
        matching = sorted((issue for issue in issues if issue.kind is kind), key=lambda issue: issue.file)
        if not matching:
            continue
        common, remedy = "", kind.remedy
        if kind is IssueKind.VALUES:
            common, remedy = f", {_list_most_common(matching, 'pixels')}", _suggest_declaration(matching, key)
        if kind is IssueKind.CATEGORIES:
            common = f", {_list_most_common(matching, 'objects')}"
            remedy = f"Add each category to a class in {key}.classes, or to {key}.ignore_value to ignore its pixels."
        title = pluralize(len(matching), kind.singular + common, kind.plural + common)
        groups.append(IssueGroup(kind, tuple(matching), title, remedy))
    return groups


def describe_skipping(issues: Sequence[DataIssue], key: str) -> str:
    """Describe how to skip the invalid files; the text is empty if they cannot be skipped."""
    if all(issue.kind is IssueKind.NO_GROUP for issue in issues):
        return ""
    return f"To skip invalid files, write {key}.on_invalid: skip. The report lists them."


def _suggest_declaration(issues: Sequence[DataIssue], key: str) -> str:
    """Suggest how to declare values, or how to correct the masks."""
    values = {value for issue in issues for value in issue.undeclared}
    if len(values) == 1:
        (value,) = values
        written = f'"{value}"' if value.startswith("#") else value
        remedy = (
            f"Write mask_value: {written} for one of {key}.classes, or {key}.ignore_value: {written} if these pixels "
            f"have no class. If a class has several values, write a list, such as mask_value: [1, {written}]. Or "
            f"correct the masks"
        )
    else:
        remedy = (
            f"Declare each value in {key}.classes (as a list if a class has several) or in {key}.ignore_value. Or "
            f"correct the masks"
        )
    lossy = any(issue.file.lower().endswith((".jpg", ".jpeg")) for issue in issues)
    jpeg = " JPEG changes pixel values: export these masks as PNG." if lossy else ""
    is_soft = len(values) >= MIN_SOFT_VALUES and not any(value.startswith("#") for value in values)
    soft = f" For soft (resized or blurred) masks of two classes, set {key}.mask_threshold." if is_soft else ""
    return f"{remedy}.{jpeg}{soft}"


def _list_most_common(issues: Sequence[DataIssue], unit: str) -> str:
    """List the most common undeclared values or categories with their counts."""
    counts = sum((Counter(issue.undeclared) for issue in issues), Counter[str]())
    return join_names([f"{name} ({count:,} {unit})" for name, count in counts.most_common()])
