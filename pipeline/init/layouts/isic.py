"""Skin lesions of the ISIC challenges of 2016, 2017 and 2018: one folder of images and one of masks per split."""

from __future__ import annotations

from pathlib import Path

from pipeline.init.layouts.layout import Layout

# Patterns of the folders of images and masks, and the suffix of the masks.
_YEARS = {
    "2016": ("ISBI2016_ISIC_Part1_*_Data", "ISBI2016_ISIC_Part1_*_GroundTruth", "_Segmentation"),
    "2017": ("ISIC-2017_*_Data", "ISIC-2017_*_Part1_GroundTruth", "_segmentation"),
    "2018": ("ISIC2018_Task1-2_*_Input", "ISIC2018_Task1_*_GroundTruth", "_segmentation"),
}


def recognize(folder: Path, base: str) -> Layout | None:
    """Recognize the layout."""
    top = folder / base
    for year, (images, masks, suffix) in _YEARS.items():
        with_images = _find_splits(top, images)
        both = sorted(with_images & _find_splits(top, masks))
        if not both:
            continue
        chosen = both[0] if len(both) == 1 else f"{{{','.join(both)}}}"
        star = "*" if with_images == set(both) else chosen
        left_out = sorted(with_images - set(both))
        return Layout(
            f"ISIC {year}",
            f"{base}{images.replace('*', star)}/*.jpg",
            f"{base}{masks.replace('*', star)}/*{suffix}.png",
            notices=[f"{name} has images but no masks, and is left out." for name in left_out],
        )
    return None


def _find_splits(top: Path, pattern: str) -> set[str]:
    start, end = pattern.split("*")
    return {path.name[len(start) : len(path.name) - len(end)] for path in top.glob(pattern) if path.is_dir()}
