"""A recognized layout: patterns of its images and masks, and what is known about its classes and splits."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.imaging import IGNORE
from pipeline.init.class_labels import make_class_names, suggest_colors
from pipeline.init.suggestion import SuggestedClasses

_MAX_DEPTH = 3  # folders that contain only another folder, as in VOCdevkit/VOC2012


@dataclass(frozen=True)
class Layout:
    """A recognized layout."""

    title: str  # name of the layout, as users know it
    images: str  # value of `data.images`
    masks: str  # value of `data.masks`
    classes: SuggestedClasses | None = None  # known classes; None if they must be guessed from the masks
    splits: Mapping[str, Any] = field(default_factory=dict)  # keys of `data.splits`
    notices: Sequence[str] = ()


def list_bases(folder: Path) -> list[str]:
    """List the folders in which a layout may begin: the folder itself and, if it contains only one other, that folder.

    Returns:
        Prefixes of patterns, each empty or ending in /.
    """
    bases = [""]
    for _ in range(_MAX_DEPTH):
        with os.scandir(folder / bases[-1]) as entries:
            names = [entry.name for entry in entries if not entry.name.startswith(".")]
        if len(names) != 1 or not (folder / bases[-1] / names[0]).is_dir():
            break
        bases.append(f"{bases[-1]}{names[0]}/")
    return bases


def name_classes(
    names: Mapping[int, str],
    background: int | None = None,
    ignored: Sequence[int] = (),
    colors: Mapping[int, int] | None = None,
) -> SuggestedClasses:
    """Suggest classes whose names and mask values are published.

    Args:
        names: Names by mask value, in the order of the classes.
        background: Value of the background; None if all classes are foreground.
        ignored: Values of ignored pixels.
        colors: Published colors by value, 0xRRGGBB; None to suggest colors.
    """
    assert len(names) < IGNORE
    shown = [f"#{colors[value]:06x}" for value in names] if colors else suggest_colors(len(names))
    classes = [
        {"name": name, "color": color, "foreground": value != background, "mask_value": value}
        for value, name, color in zip(names, make_class_names(list(names.values())), shown, strict=True)
    ]
    return SuggestedClasses(
        {"classes": classes, "ignore_value": ignored[0] if len(ignored) == 1 else list(ignored) or None}
    )
