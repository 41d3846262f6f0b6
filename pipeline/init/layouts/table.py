"""Table of the published layouts of images and masks. A new layout needs a module and an entry."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from pipeline.init.layouts import (
    ade20k,
    camvid,
    carvana,
    cityscapes,
    data_science_bowl,
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
)


def recognize_layout(folder: Path, layouts: Sequence[Recognize] = LAYOUTS) -> Layout | None:
    """Return the first layout that a folder has, at its top or in a folder that is its only content.

    Args:
        folder: Folder of the images.
        layouts: Layouts to recognize.

    Raises:
        PipelineError: A layout is recognized, but cannot be read.
    """

    def find() -> Iterator[Layout | None]:
        for base in list_bases(folder):
            yield from (recognize(folder, base) for recognize in layouts)

    return next(filter(None, find()), None)
