"""Interface of the readers of annotation formats."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pipeline.imaging.decode import ENDINGS
from pipeline.prepare.formats.annotations import Annotations
from pipeline.prepare.formats.image_index import ImageIndex
from pipeline.prepare.image_mask_pair import MaskReader


@dataclass(frozen=True)
class FormatSettings:
    """Keys of the `data` section for a folder."""

    annotations: str  # value of `data.annotations`
    images: str  # value of `data.images`


@dataclass(frozen=True)
class AnnotationFormat:
    """A format of annotations."""

    source: str  # value of `data.source`
    title: str  # as users know it
    find: Callable[[Path], FormatSettings | None]  # returns None if a folder has no annotations in this format
    read: Callable[[str, ImageIndex, str], Annotations]  # the arguments are `data.annotations`, images, and the key
    # Creates the reader of masks from the class index, or IGNORE, of each category, and the class index of other
    # pixels. None if masks are drawn from outlines.
    create_reader: Callable[[tuple[tuple[int, int], ...], int], MaskReader] | None = None
    ignored: tuple[str, ...] = ()  # categories whose pixels the tool itself ignores


def has_images(folder: Path) -> bool:
    """Return whether a folder directly contains images."""
    return folder.is_dir() and any(path.suffix.lower() in ENDINGS for path in folder.iterdir())
