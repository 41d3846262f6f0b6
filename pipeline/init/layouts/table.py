"""Table of the recognized layouts of images and masks. A new layout needs a module and an entry."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from pipeline.init.layouts import (
    ade20k,
    camvid,
    carvana,
    cityscapes,
    data_science_bowl,
    image_mask,
    isic,
    nnunet,
    pascal_voc,
)
from pipeline.init.layouts.layout import Layout, list_bases

Recognize = Callable[[Path, str], Layout | None]

# The more specific layouts come first. The arguments are the folder, and the prefix of the patterns.
LAYOUTS: tuple[Recognize, ...] = (
    nnunet.recognize,
    cityscapes.recognize,
    pascal_voc.recognize,
    ade20k.recognize,
    camvid.recognize,
    carvana.recognize,
    isic.recognize,
    data_science_bowl.recognize,
    image_mask.recognize,
)


def recognize_layout(folder: Path) -> Layout | None:
    """Return the first layout that a folder has, at its top or in a folder that is its only content.

    Raises:
        PipelineError: A layout is recognized, but cannot be read.
    """

    def find() -> Iterator[Layout | None]:
        for base in list_bases(folder):
            yield from (recognize(folder, base) for recognize in LAYOUTS)

    return next(filter(None, find()), None)
