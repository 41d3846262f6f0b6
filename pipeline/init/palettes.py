"""Published palettes and label files: class names by color, and colors by class name."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.init.class_labels import make_class_names, suggest_colors

_MIN_NAMES, _MIN_NAMED = 4, 0.8  # number and share of category names that must be in a palette
_MIN_COLORED = 0.9  # share of the colors of masks that must be in a palette

# Label files of CVAT, Kaggle data sets and CamVid.
_FORMATS = {
    "labelmap.txt": re.compile(r"(?P<name>[^#:]+):(?P<red>\d+),(?P<green>\d+),(?P<blue>\d+):.*"),
    "class_dict.csv": re.compile(r"(?P<name>[^,]+), *(?P<red>\d+), *(?P<green>\d+), *(?P<blue>\d+)"),
    "label_colors.txt": re.compile(r"(?P<red>\d+)\s+(?P<green>\d+)\s+(?P<blue>\d+)\s+(?P<name>\S.*)"),
}
_MAX_BYTES, _MAX_DIGITS = 1_000_000, 9
_IGNORED_NAMES = frozenset(("void", "unlabeled", "unlabelled", "unknown", "ignore"))


@dataclass(frozen=True)
class Palette:
    """Colors of the classes of a data set."""

    title: str  # of the data set
    classes: dict[str, int]  # colors, 0xRRGGBB, by class name
    ignored: dict[str, int]  # colors of ignored pixels, by name
    min_colors: int  # number of class colors that must occur in masks to rule out a coincidence
    is_common: bool = False  # whether tools use its colors for arbitrary classes, so that an ignored color should occur
    background: str | None = None  # name of the background class

    @property
    def colors(self) -> dict[str, int]:
        """Colors of classes and of ignored pixels, by name."""
        return self.classes | self.ignored

    @property
    def names(self) -> dict[int, str]:
        """Names by color. If several names have the same color, the first one is used."""
        return {color: name for name, color in reversed(self.colors.items())}


# https://github.com/mcordts/cityscapesScripts, cityscapesscripts/helpers/labels.py
CITYSCAPES = Palette(
    "Cityscapes",
    {
        "road": 0x804080,
        "sidewalk": 0xF423E8,
        "building": 0x464646,
        "wall": 0x66669C,
        "fence": 0xBE9999,
        "pole": 0x999999,
        "traffic light": 0xFAAA1E,
        "traffic sign": 0xDCDC00,
        "vegetation": 0x6B8E23,
        "terrain": 0x98FB98,
        "sky": 0x4682B4,
        "person": 0xDC143C,
        "rider": 0xFF0000,
        "car": 0x00008E,
        "truck": 0x000046,
        "bus": 0x003C64,
        "train": 0x005064,
        "motorcycle": 0x0000E6,
        "bicycle": 0x770B20,
    },
    {
        "unlabeled": 0x000000,
        "dynamic": 0x6F4A00,
        "ground": 0x510051,
        "parking": 0xFAAAA0,
        "rail track": 0xE6968C,
        "guard rail": 0xB4A5B4,
        "bridge": 0x966464,
        "tunnel": 0x96785A,
        "polegroup": 0x999999,
        "caravan": 0x00005A,
        "trailer": 0x00006E,
    },
    min_colors=5,
)

# The data set's label_colors.txt, http://mi.eng.cam.ac.uk/research/projects/VideoRec/CamVid/
CAMVID = Palette(
    "CamVid",
    {
        "Animal": 0x408040,
        "Archway": 0xC00080,
        "Bicyclist": 0x0080C0,
        "Bridge": 0x008040,
        "Building": 0x800000,
        "Car": 0x400080,
        "CartLuggagePram": 0x4000C0,
        "Child": 0xC08040,
        "Column_Pole": 0xC0C080,
        "Fence": 0x404080,
        "LaneMkgsDriv": 0x8000C0,
        "LaneMkgsNonDriv": 0xC00040,
        "Misc_Text": 0x808040,
        "MotorcycleScooter": 0xC000C0,
        "OtherMoving": 0x804040,
        "ParkingBlock": 0x40C080,
        "Pedestrian": 0x404000,
        "Road": 0x804080,
        "RoadShoulder": 0x8080C0,
        "Sidewalk": 0x0000C0,
        "SignSymbol": 0xC08080,
        "Sky": 0x808080,
        "SUVPickupTruck": 0x4080C0,
        "TrafficCone": 0x000040,
        "TrafficLight": 0x004040,
        "Train": 0xC04080,
        "Tree": 0x808000,
        "Truck_Bus": 0xC080C0,
        "Tunnel": 0x400040,
        "VegetationMisc": 0xC0C000,
        "Wall": 0x40C000,
    },
    {"Void": 0x000000},
    min_colors=5,
)

# http://host.robots.ox.ac.uk/pascal/VOC/voc2012/htmldoc/devkit_doc.html, VOClabelcolormap; void is index 255
PASCAL_VOC = Palette(
    "PASCAL VOC",
    {
        "background": 0x000000,
        "aeroplane": 0x800000,
        "bicycle": 0x008000,
        "bird": 0x808000,
        "boat": 0x000080,
        "bottle": 0x800080,
        "bus": 0x008080,
        "car": 0x808080,
        "cat": 0x400000,
        "chair": 0xC00000,
        "cow": 0x408000,
        "diningtable": 0xC08000,
        "dog": 0x400080,
        "horse": 0xC00080,
        "motorbike": 0x408080,
        "person": 0xC08080,
        "pottedplant": 0x004000,
        "sheep": 0x804000,
        "sofa": 0x00C000,
        "train": 0x80C000,
        "tvmonitor": 0x004080,
    },
    {"void": 0xE0E0C0},
    min_colors=3,
    is_common=True,  # labelme, DAVIS and others
    background="background",
)

PALETTES = (CITYSCAPES, CAMVID, PASCAL_VOC)


def find_palette_by_colors(colors: Iterable[int], own: Palette | None = None) -> Palette | None:
    """Find the palette that mask colors belong to. Return None if no palette or more than one fits.

    Args:
        colors: Colors in the masks, 0xRRGGBB.
        own: Palette of the data set, which is preferred; None if unknown.
    """
    seen = set(colors)
    if own is not None and _count_fitting(own, seen):
        return own
    return _find_best([_count_fitting(palette, seen) for palette in PALETTES], 1)


def choose_category_colors(categories: Sequence[str]) -> tuple[list[str], list[str]]:
    """Choose colors for the background and categories, from a published palette if it has nearly all category names.

    Returns:
        Colors as #rrggbb, starting with the background, and notices.
    """
    wanted = set(map(_normalize, categories))
    counts = [len(wanted & set(map(_normalize, palette.colors))) for palette in PALETTES]
    palette = _find_best(counts, max(_MIN_NAMES, _MIN_NAMED * len(wanted)))
    if palette is None:
        return suggest_colors(len(categories) + 1), []
    by_name = {_normalize(name): f"#{color:06x}" for name, color in palette.colors.items()}
    chosen: list[str | None] = ["#000000"]
    for name in categories:
        color = by_name.get(_normalize(name))
        chosen.append(None if color in chosen else color)
    others = iter(suggest_colors(chosen.count(None), [color for color in chosen if color]))
    named = sum(color is not None for color in chosen[1:])
    notice = (
        f"{named} of {len(categories)} categories have names from {palette.title}, so they get its colors. To change "
        f"them, edit data.classes."
    )
    return [color or next(others) for color in chosen], [notice]


def _count_fitting(palette: Palette, seen: set[int]) -> int:
    """Count the colors that are in a palette. Return 0 if there are too few of them, or too many others."""
    known = seen & set(palette.colors.values())
    named = seen & {color for name, color in palette.classes.items() if name != palette.background}
    # Without its ignored color, a common palette only matches if more of its classes occur than most projects use.
    is_marked = not palette.is_common or bool(known - set(palette.classes.values()))
    is_marked |= len(named) >= len(palette.classes) / 2
    is_fitting = len(known) >= _MIN_COLORED * len(seen) and len(named) >= palette.min_colors and is_marked
    return len(known) if is_fitting else 0


def _find_best(counts: Sequence[int], least: float) -> Palette | None:
    """Return the palette with the highest count, if the count is at least `least` and no other palette has it."""
    best = max(counts)
    return PALETTES[counts.index(best)] if best >= least and counts.count(best) == 1 else None


def _normalize(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def read_label_file(folder: Path) -> Palette | None:
    """Read class names and colors from a label file in a folder. Return None if no label file can be read."""
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
        names = make_class_names([match["name"].strip() for match in found])
        colors = {name: int.from_bytes(bytes(color), "big") for name, color in zip(names, levels, strict=True)}
        ignored = {name: color for name, color in colors.items() if name.lower() in _IGNORED_NAMES}
        classes = {name: color for name, color in colors.items() if name not in ignored}
        background = next((name for name in classes if name.lower() == "background"), None)
        return Palette(file, classes, ignored, min_colors=1, background=background)
    return None
