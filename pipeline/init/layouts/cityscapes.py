"""Cityscapes: leftImg8bit/ and gtFine/ with one folder per split and city."""

from __future__ import annotations

from pathlib import Path

from pipeline.imaging import IGNORE
from pipeline.init.layouts.layout import Layout, name_classes
from pipeline.init.palettes import CITYSCAPES

IMAGES, MASKS = "leftImg8bit", "gtFine"
# https://github.com/mcordts/cityscapesScripts, cityscapesscripts/helpers/labels.py: ids of the evaluated classes
_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
_NUM_IDS = 34
_SPLITS = "{train,val}"


def recognize(folder: Path, base: str) -> Layout | None:
    """Recognize the layout. Masks with the ids of labels are preferred to those with the ids for training."""
    top = folder / base
    if not (top / IMAGES).is_dir() or not (top / MASKS).is_dir():
        return None
    names, colors = list(CITYSCAPES.classes), list(CITYSCAPES.classes.values())
    if next(top.glob(f"{MASKS}/*/*/*_labelIds.png"), None):
        kind, values = "labelIds", list(_IDS)
        ignored = [value for value in range(_NUM_IDS) if value not in _IDS]
    elif next(top.glob(f"{MASKS}/*/*/*_labelTrainIds.png"), None):
        kind, values, ignored = "labelTrainIds", list(range(len(names))), [IGNORE]
    else:
        return None
    classes = name_classes(
        dict(zip(values, names, strict=True)), ignored=ignored, colors=dict(zip(values, colors, strict=True))
    )
    has_test = (top / IMAGES / "test").is_dir()
    notice = "The images in leftImg8bit/test are left out, because their masks are not published."
    return Layout(
        f"Cityscapes ({kind})",
        f"{base}{IMAGES}/{_SPLITS}/*/*_leftImg8bit.png",
        f"{base}{MASKS}/{_SPLITS}/*/*_gtFine_{kind}.png",
        classes,
        notices=[notice] if has_test else [],
    )
