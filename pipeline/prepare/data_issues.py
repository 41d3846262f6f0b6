"""What is wrong with a source's files, gathered over all of them: the user mends them in one go, not one a run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

from pipeline.errors import PipelineError
from pipeline.imaging.decode import ENDINGS
from pipeline.prepare.sample_ids import count_and_list, escape_unprintable

MAX_VALUES = 10  # mask values that an error names
MIN_SOFT_VALUES = 3  # undeclared values; masks with as many or more may be soft

_SUPPORTED = f"with any of the endings {', '.join(ENDINGS)}"


class IssueKind(Enum):
    """A kind of fault: what a file is that has it, what several are, what is said of it by name, and what to do."""

    NO_MASK = (
        "image without a mask",
        "images without a mask",
        "has no mask",
        f"Add a mask of the same name to masks/, {_SUPPORTED} or .gif, or remove the image.",
    )
    NO_IMAGE = (
        "mask without an image",
        "masks without an image",
        "is a mask without an image",
        f"Add the image of the same name to images/, {_SUPPORTED}, or remove the mask.",
    )
    NO_FILE = (
        "image that the annotations name but that is not there",
        "images that the annotations name but that are not there",
        "is not there, though the annotations name it",
        "Add the file, or export anew without it.",
    )
    NO_TRUTH = (
        "image that the annotations do not name",
        "images that the annotations do not name",
        "is not named by the annotations",
        "Export the annotations of all images, or remove the image.",
    )
    DOUBLE = (
        "name that stands for several files",
        "names that stand for several files",
        "is one name for several files",
        "The ending, the folder's / and the Unicode form do not tell files apart (a/b.png, a/b.jpg and a__b.png are "
        "one name, and so are letters with an accent in one character or in two): rename or remove all but one.",
    )
    NAME = (
        "name that cannot be used",
        "names that cannot be used",
        "has a name that cannot be used",
        "Rename the file, and its mask likewise.",
    )
    NO_GROUP = (
        "name in which data.splits.group_pattern finds no group",
        "names in which data.splits.group_pattern finds no group",
        "has a name in which data.splits.group_pattern finds no group",
        "Mend the pattern, or give such an image a group in the list of splits.",
    )
    UNREADABLE = (
        "file that cannot be used",
        "files that cannot be used",
        "cannot be used",
        "Save such a file again from the program that made it, or remove its pair.",
    )
    SIZES = (
        "mask of another size than its image",
        "masks of another size than their image",
        "has another size than its image",
        "A mask must cover its image pixel by pixel: export it anew. (Sizes are width × height after the EXIF "
        "orientation, by which cameras turn a picture; where masks cover the pixels as they are stored, write "
        "mask_orientation: stored.)",
    )
    ORIENTATION = (
        "mask that may cover its turned image upright or as it is stored",
        "masks that may cover their turned images upright or as they are stored",
        "may cover its turned image upright or as it is stored",
        "The images have an EXIF orientation, their masks have none, and the size is the same either way: write "
        "mask_orientation: upright if the masks were drawn over the image as viewers show it, or mask_orientation: "
        "stored if over the stored pixels.",
    )
    PALETTE = (
        "mask with another palette than the others",
        "masks with another palette than the others",
        "has another palette than the others",
        "The same index must be the same color in all masks: write the colors as the values of the classes, such as "
        '"#00ff00", or save the masks with one palette.',
    )
    VALUES = (
        "mask with values that no class declares",
        "masks with values that no class declares",
        "has values that no class declares",
        "",
    )
    CATEGORIES = (
        "image with objects of categories that no class takes in",
        "images with objects of categories that no class takes in",
        "has objects of categories that no class takes in",
        "",
    )
    NO_GEOMETRY = (
        "image with annotations that cannot be drawn",
        "images with annotations that cannot be drawn",
        "has annotations that cannot be drawn",
        "Draw these objects again, or remove their annotations. Boxes and keypoints are not masks.",
    )
    UNLISTED = (
        "image with annotations of categories that the file does not list",
        "images with annotations of categories that the file does not list",
        "has annotations of categories that the file does not list",
        "Add the categories to the file's `categories`, or remove the annotations.",
    )
    NO_SIZE = (
        "image without a usable height and width in the annotations",
        "images without a usable height and width in the annotations",
        "has no usable height and width in the annotations",
        "Both must be the image's, in whole pixels: export the annotations again.",
    )
    DEPTH = (
        "image of another kind than the first one",
        "images of another kind than the first one",
        "is of another kind than the first one",
        "All must have the same number of channels and of bits: save them alike, or set data.channels.",
    )
    LOOKS_ALIKE = (
        "image that looks the same as one of another split",
        "images that look the same as one of another split",
        "looks the same as one of another split",
        "What is trained on would be tested on, and every gap would be a lie: remove all but one of each, or give them "
        "one group in the list of splits. `pipeline data --check` shows the pairs as images; if they are different, "
        "list them in near_duplicates.distinct, or set stricter limits there.",
    )

    def __init__(self, single: str, several: str, said: str, remedy: str) -> None:
        self.single, self.several, self.said, self.remedy = single, several, said, remedy


@dataclass(frozen=True)
class DataIssue:
    """A pair, or a file, that cannot be used."""

    kind: IssueKind
    id: str  # of the pair; of what makes none, the file
    file: str
    detail: str = ""  # stands behind the file's name
    undeclared: Mapping[str, int] = field(default_factory=dict)  # pixels of values, or objects of categories

    def __str__(self) -> str:
        """The file, and what is the matter with it."""
        return f"{escape_unprintable(self.file)} ({self.detail})" if self.detail else escape_unprintable(self.file)

    @property
    def reason(self) -> str:
        """Why the pair was set aside, in a few words that follow its name."""
        return f"{self.kind.said}: {self}"


def build_error(faults: Sequence[DataIssue], key: str, folder: str) -> PipelineError:
    """All faults in one error, a line a kind, with counts and the first files.

    Args:
        faults: at least one.
        key: the section's that the folder is from.
        folder: that the files lie in.
    """
    lines = []
    for kind in IssueKind:
        of_kind = sorted((fault for fault in faults if fault.kind is kind), key=lambda fault: fault.file)
        if not of_kind:
            continue
        common, remedy = "", kind.remedy
        if kind is IssueKind.VALUES:
            common, remedy = f", {_list_most_common(of_kind, 'pixels')}", _suggest_declaration(of_kind, key)
        if kind is IssueKind.CATEGORIES:
            common = f", {_list_most_common(of_kind, 'objects')}"
            remedy = f"Write each as a category of {key}.classes, or in {key}.ignore: its pixels then count nowhere."
        found = count_and_list(kind.single + common, kind.several + common, [str(fault) for fault in of_kind])
        lines.append(f"{found}. {remedy}")
    if any(fault.kind in _SKIPPABLE for fault in faults):
        lines.append(f"To go on without such pairs, write {key}.on_fault: set_aside; the report then lists them.")
    return PipelineError("\n".join(f"{key}.path: {folder}: {line}" for line in lines))


_SKIPPABLE = frozenset(IssueKind) - {IssueKind.NO_GROUP}


def _suggest_declaration(faults: Sequence[DataIssue], key: str) -> str:
    """What to do about values that no class declares."""
    values = {value for fault in faults for value in fault.undeclared}
    if len(values) == 1:
        (value,) = values
        spelt = f'"{value}"' if value.startswith("#") else value
        remedy = (
            f"Write value: {spelt} for one of {key}.classes, or {key}.ignore: {spelt} if it means none; several values "
            f"of one class are a list, such as value: [1, {spelt}]. Or correct the masks"
        )
    else:
        remedy = (
            f"Declare each as a value of {key}.classes, several of one class as a list, or in {key}.ignore. Or correct "
            f"the masks"
        )
    lossy = any(fault.file.lower().endswith((".jpg", ".jpeg")) for fault in faults)
    jpeg = " JPEG changes pixel values: export such masks as PNG." if lossy else ""
    is_soft = len(values) >= MIN_SOFT_VALUES and not any(value.startswith("#") for value in values)
    soft = f" Soft masks of two classes (resized, blurred) are divided by {key}.mask_threshold." if is_soft else ""
    return f"{remedy}.{jpeg}{soft}"


def _list_most_common(faults: Sequence[DataIssue], unit: str) -> str:
    """The commonest values or categories that no class declares, with their counts."""
    counts = sum((Counter(fault.undeclared) for fault in faults), Counter[str]())
    common = [f"{escape_unprintable(name)} ({count:,} {unit})" for name, count in counts.most_common(MAX_VALUES)]
    more = f" and {len(counts) - MAX_VALUES} more" if len(counts) > MAX_VALUES else ""
    return ", ".join(common) + more
