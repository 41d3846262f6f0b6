"""ADE20K for scene parsing (ADEChallengeData2016): images/ and annotations/, each with training/ and validation/."""

from __future__ import annotations

from pathlib import Path

from pipeline.init.layouts.layout import Layout, name_classes
from pipeline.init.suggestion import SuggestedClasses
from pipeline.prepare.read_file import read_limited

NAMES = "objectInfo150.txt"  # tab-separated: Idx, Ratio, Train, Val, Stuff, Name
_VOID = 0
_COUNT = 150


def recognize(folder: Path, base: str) -> Layout | None:
    """Recognize the layout."""
    top = folder / base
    if not all(
        (top / kind / split).is_dir() for kind in ("images", "annotations") for split in ("training", "validation")
    ):
        return None
    return Layout(
        "ADE20K scene parsing",
        f"{base}images/{{training,validation}}/*",
        f"{base}annotations/{{training,validation}}/*",
        _read_classes(top / NAMES),
    )


def _read_classes(path: Path) -> SuggestedClasses:
    """Read the names of the classes. Without the file, classes are numbered."""
    try:
        rows = [line.split("\t") for line in read_limited(path).decode("utf-8").splitlines()]
    except (OSError, UnicodeDecodeError):
        rows = []
    # The last column lists synonyms; the first one is used.
    names = {int(row[0]): row[-1].split(",")[0].strip() for row in rows if row[0].isdecimal()}
    if sorted(names) != list(range(1, 1 + _COUNT)):
        names = {value: f"class_{value}" for value in range(1, 1 + _COUNT)}
    return name_classes(names, ignored=[_VOID])
