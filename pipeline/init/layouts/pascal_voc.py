"""Pascal VOC, and exports in its layout: JPEGImages/, SegmentationClass/ and lists in ImageSets/Segmentation/."""

from __future__ import annotations

from pathlib import Path

from pipeline.imaging import IGNORE
from pipeline.init.layouts.layout import Layout, name_classes
from pipeline.init.mask_survey import survey_masks
from pipeline.init.palettes import PASCAL_VOC, find_palette_by_colors
from pipeline.init.suggestion import SuggestedClasses

IMAGES, MASKS, LISTS = "JPEGImages", "SegmentationClass", "ImageSets/Segmentation"
_SPLITS = ("train", "val", "test")  # trainval.txt lists the images of train.txt and val.txt again
_NAMES = dict(enumerate(PASCAL_VOC.classes))


def recognize(folder: Path, base: str) -> Layout | None:
    """Recognize the layout. Images without a mask, which are most of them, are in no list."""
    top = folder / base
    if not (top / IMAGES).is_dir() or not (top / MASKS).is_dir():
        return None
    masks = {path.stem for path in (top / MASKS).iterdir()}
    lists = [name for name in _SPLITS if _has_masks(top / LISTS / f"{name}.txt", masks)]
    pattern = f"{base}{LISTS}/{{{','.join(lists)}}}.txt" if len(lists) > 1 else None
    return Layout(
        "Pascal VOC",
        f"{base}{IMAGES}/*",
        f"{base}{MASKS}/*",
        _find_classes(folder, [f"{base}{MASKS}/{path.name}" for path in sorted((top / MASKS).iterdir())]),
        {"split_lists": pattern} if pattern else {},
    )


def _has_masks(path: Path, masks: set[str]) -> bool:
    """Return whether a list exists and its images have masks, unlike those of VOC 2012's test list."""
    try:
        names = path.read_text(encoding="utf-8").split()
    except (OSError, UnicodeDecodeError):
        return False
    return bool(names) and names[0] in masks


def _find_classes(folder: Path, files: list[str]) -> SuggestedClasses | None:
    """Return all 21 classes if the masks have their indices and colors. Exports of other classes have others."""
    survey = survey_masks(folder, files)
    colors = {value: PASCAL_VOC.classes[name] for value, name in _NAMES.items()}
    known = {value: survey.palette.get(value, -1) for value in survey.pixels}
    is_indexed = all(known[value] == colors.get(value) for value in known if value != IGNORE)
    if survey.colors or not is_indexed or find_palette_by_colors(known.values()) is not PASCAL_VOC:
        return None
    return name_classes(_NAMES, background=0, ignored=[IGNORE], colors=colors)
