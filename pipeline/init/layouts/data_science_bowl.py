"""Data Science Bowl 2018: one folder per image, with images/ and masks/ of one object per file."""

from __future__ import annotations

from pathlib import Path

from pipeline.init.layouts.layout import Layout

_TRAINING = "stage1_train/"


def recognize(folder: Path, base: str) -> Layout | None:
    """Recognize the layout. The folders of the tests have no masks."""
    for top in (f"{base}{_TRAINING}", base):
        image = next((folder / top).glob("*/images/*.*"), None)
        if image is None:
            continue
        masks = image.parents[1] / "masks"
        # With one folder per split, there are several images.
        if masks.is_dir() and len(list(image.parent.iterdir())) == 1 and image.stem == image.parents[1].name:
            return Layout("Data Science Bowl 2018", f"{top}*/images/{{any}}", f"{top}*/masks/{{object}}")
    return None
