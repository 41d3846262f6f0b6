"""Recognize the folders of other data sets and tools, and say how to convert them."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

from pipeline.prepare.sources.folder import IMAGES, MASKS

_MAX_OPENED = 5  # JSON files
_MAX_BYTES = 50_000_000


def describe_layout(folder: Path) -> str:
    """Name the layout of a folder that is not read, and how to convert it; empty if it is unknown."""
    if (folder / "JPEGImages").is_dir() and (folder / "SegmentationClass").is_dir():
        return (
            f"It looks like Pascal VOC: rename JPEGImages to {IMAGES} and SegmentationClass to {MASKS}, and remove the "
            f"images that have no mask; 255 in these masks is unknown (ignore: 255)."
        )
    if any((folder / split / IMAGES).is_dir() for split in ("train", "training", "val", "test")):
        return (
            f"It has a folder per split: move the images to {IMAGES}/train, {IMAGES}/val and {IMAGES}/test, and the "
            f"masks to {MASKS}/ likewise; folders named like splits are the splits."
        )
    if any(folder.glob(f"stage1_train/*/{MASKS}")) or any(folder.glob(f"*/{MASKS}/*")):
        return (
            f"It looks like the Data Science Bowl 2018, with a folder per image and a mask per object: write one mask "
            f"per image that numbers its objects (0 is background), into {MASKS}/, and the images into {IMAGES}/ with "
            f"the same names."
        )
    if any(map(_is_labelme, itertools.islice(sorted(folder.rglob("*.json")), _MAX_OPENED))):
        return (
            "It looks like labelme, with a JSON per image: convert it to COCO's instances (labelme has the script "
            "labelme2coco.py), and put that JSON beside images/."
        )
    return ""


def _is_labelme(path: Path) -> bool:
    try:
        content = json.loads(path.read_bytes()) if path.stat().st_size < _MAX_BYTES else None
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(content, dict) and {"shapes", "imagePath"} <= content.keys()
