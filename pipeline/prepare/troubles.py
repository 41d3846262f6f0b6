"""What is wrong with a folder's files, gathered over all of them: the user mends them in one go, not one a run."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from pipeline.data.pictures import ENDINGS
from pipeline.errors import PipelineError
from pipeline.prepare.split_list import NAMED, listed

UNREADABLE, SIZES, NO_MASK, NO_IMAGE, DOUBLE = "unreadable", "sizes", "no mask", "no image", "double"

_ANY = f"with any of the endings {', '.join(ENDINGS)}"
_WORDS = {  # what is wrong with the files that follow, and what to do
    NO_MASK: (
        "images without a mask",
        f"Add a mask of the same name to masks/, {_ANY}, or remove the image.",
    ),
    NO_IMAGE: (
        "masks without an image",
        f"Add the image of the same name to images/, {_ANY}, or remove the mask.",
    ),
    DOUBLE: (
        "names that stand for several files",
        "The ending and the folder's / do not tell files apart (a/b.png, a/b.jpg and a__b.png are one name): rename or "
        "remove all but one.",
    ),
    UNREADABLE: ("files that cannot be used", "Save them again from the program that made them, or remove each pair."),
    SIZES: (
        "masks of another size than their image",
        "A mask must cover its image pixel by pixel: export it anew. (Sizes are width × height after the EXIF "
        "orientation, by which cameras turn a picture.)",
    ),
}


class Troubles:
    """Counts what is wrong, in words for the user; `key` is the section's that the folder is from."""

    def __init__(self, key: str) -> None:
        self._key = key
        self._files: dict[str, list[str]] = {kind: [] for kind in _WORDS}
        self._strange_files: list[str] = []
        self._pixels: Counter[str] = Counter()  # of values that no class declares
        self._depths: dict[bool, list[str]] = {True: [], False: []}

    def __bool__(self) -> bool:
        mixed = all(self._depths.values())
        return bool(any(self._files.values()) or self._strange_files or mixed)

    def add(self, kind: str, file: str, detail: str = "") -> None:
        """Note a file, with a detail that stands behind its name."""
        self._files[kind].append(f"{file} ({detail})" if detail else file)

    def add_values(self, file: str, pixels: dict[str, int]) -> None:
        """Note a mask whose pixels hold undeclared values: how many of each."""
        self._strange_files.append(file)
        self._pixels.update(pixels)

    def add_depth(self, file: str, deep: bool) -> None:
        """Note whether an image is 16-bit grey; all must be, or none."""
        self._depths[deep].append(file)

    def error(self, folder: Path) -> PipelineError:
        """All of it, a line a kind, with counts and the first files."""
        lines = [
            f"{len(files)} {what}: {listed(files)}. {remedy}"
            for kind, (what, remedy) in _WORDS.items()
            if (files := self._files[kind])
        ]
        if self._strange_files:
            lines.append(self._values())
        deep, others = self._depths[True], self._depths[False]
        if deep and others:
            fewer, kind = (deep, "16-bit grey") if len(deep) <= len(others) else (others, "not")
            lines.append(
                f"{len(deep)} images are 16-bit grey and {len(others)} are not; those that are {kind}: {listed(fewer)}."
                f" Save all as 16-bit grey, or all with 8 bits."
            )
        return PipelineError("\n".join(f"{self._key}.path: {folder}: {line}" for line in lines))

    def _values(self) -> str:
        common = [f"{value} ({pixels:,} pixels)" for value, pixels in self._pixels.most_common(NAMED)]
        more = f" and {len(self._pixels) - NAMED} more values" if len(self._pixels) > NAMED else ""
        lossy = any(file.lower().endswith((".jpg", ".jpeg")) for file in self._strange_files)
        jpeg = " JPEG changes pixel values: export such masks as PNG." if lossy else ""
        key, files = self._key, self._strange_files
        if len(self._pixels) == 1:
            (value,) = self._pixels
            spelt = f'"{value}"' if value.startswith("#") else value
            remedy = f"Write value: {spelt} for the class that it means, or {key}.ignore: {spelt} if it means none"
        else:
            remedy = f"Declare each as a class's value, or one as {key}.ignore"
        return (
            f"{len(files)} masks with values that {key}.classes does not declare, {', '.join(common)}{more}: "
            f"{listed(files)}. {remedy}, or mend the masks.{jpeg}"
        )
