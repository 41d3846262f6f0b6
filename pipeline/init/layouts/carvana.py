"""Carvana (Kaggle): train/ and train_masks/ with GIF masks; a car has 16 images."""

from __future__ import annotations

from pathlib import Path

from pipeline.init.layouts.layout import Layout


def recognize(folder: Path, base: str) -> Layout | None:
    """Recognize the layout."""
    images = next((name for name in ("train", "train_hq") if (folder / base / name).is_dir()), None)
    if images is None or next((folder / base).glob("train_masks/*_mask.gif"), None) is None:
        return None
    return Layout(
        "Carvana",
        f"{base}{images}/*.jpg",
        f"{base}train_masks/*_mask.gif",
        splits={"group_regex": "^(.+)_[0-9]+$"},
    )
