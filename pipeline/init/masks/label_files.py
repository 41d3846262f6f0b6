"""Read files in which annotation tools list the names and colors of classes."""

from __future__ import annotations

import re
from pathlib import Path

from pipeline.init.masks.class_names import class_names
from pipeline.init.masks.palettes import Palette

# CVAT's labelmap.txt, class_dict.csv as of data sets on Kaggle, CamVid's label_colors.txt
_FORMATS = {
    "labelmap.txt": re.compile(r"(?P<name>[^#:]+):(?P<red>\d+),(?P<green>\d+),(?P<blue>\d+):.*"),
    "class_dict.csv": re.compile(r"(?P<name>[^,]+), *(?P<red>\d+), *(?P<green>\d+), *(?P<blue>\d+)"),
    "label_colors.txt": re.compile(r"(?P<red>\d+)\s+(?P<green>\d+)\s+(?P<blue>\d+)\s+(?P<name>\S.*)"),
}
_MAX_BYTES, _MAX_DIGITS = 1_000_000, 9
_IGNORED = frozenset(("void", "unlabeled", "unlabelled", "unknown", "ignore"))


def read_label_file(folder: Path) -> Palette | None:
    """Read the names and colors of classes from a file in the folder; None if there is none, or none can be read."""
    for file, line_format in _FORMATS.items():
        try:
            path = folder / file
            text = path.read_text(encoding="utf-8-sig") if path.stat().st_size <= _MAX_BYTES else ""
        except (OSError, UnicodeDecodeError):
            continue
        found = [match for line in text.splitlines() if (match := line_format.fullmatch(line.strip()))]
        levels = [[int(match[key][:_MAX_DIGITS]) for key in ("red", "green", "blue")] for match in found]
        if not found or any(level > 255 for color in levels for level in color):
            continue
        names = class_names([match["name"].strip() for match in found])
        colors = {name: int.from_bytes(bytes(color), "big") for name, color in zip(names, levels, strict=True)}
        ignored = {name: color for name, color in colors.items() if name.lower() in _IGNORED}
        classes = {name: color for name, color in colors.items() if name not in ignored}
        background = next((name for name in classes if name.lower() == "background"), None)
        return Palette(file, classes, ignored, min_colors=1, background=background)
    return None
