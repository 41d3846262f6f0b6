"""What a sample of the images shows: their sizes, and how many channels they have."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from statistics import median
from typing import Literal, TypeVar

import numpy as np

from pipeline.data.picture_error import PictureError
from pipeline.data.pictures import read_image
from pipeline.data.tiff import channels_of
from pipeline.errors import PipelineError
from pipeline.prepare.files import content_of

MOST = 200  # files that are opened
USUAL_SIZE = 128  # px; a first grid of this size takes minutes
_SQUARE = 1.1  # longer by shorter side, up to which nothing is lost by squashing
_MULTIPLE = 32  # px that suit every variant
_NUMBERED = re.compile(r"(.+?)[_-][^_/-]*[0-9]+")
_FEWEST_GROUPS, _LARGEST_SHARE = 4, 0.5

Item = TypeVar("Item")


@dataclass(frozen=True)
class Pictures:
    """What the images are like."""

    image_size: int
    resize: Literal["squash", "pad"]
    channels: int | None  # as `data.channels` has it
    prepared_channels: int  # that a network gets
    sizes: str  # from which to which, and of how many if not of all
    groups: str  # a pattern that may tell groups apart; empty where names show none


def sampled(items: Sequence[Item], most: int = MOST) -> list[Item]:
    """Evenly spaced items, so that a folder in the order of its films or patients is seen whole."""
    if len(items) <= most:
        return list(items)
    return [items[round(place)] for place in np.linspace(0, len(items) - 1, most)]


def look_at(folder: Path, files: Sequence[str]) -> Pictures:
    """Open a sample of the images.

    Raises:
        PipelineError: None of them can be read.
    """
    sizes: Counter[tuple[int, int]] = Counter()  # width and height
    channels: Counter[tuple[int | None, int]] = Counter()
    reason = ""
    for file in sampled(files):
        try:
            content = content_of(folder / file)
            (height, width, held), asked = _seen(content)
        except (PictureError, OSError) as error:
            reason = f"{file} {error}"
            continue
        sizes[width, height] += 1
        channels[asked, held] += 1
    if not sizes:
        raise PipelineError(f"{folder}: none of the images can be read; {reason}. Save them as PNG, JPEG or TIFF.")
    low, high = min(sizes, key=_area), max(sizes, key=_area)
    span = f"{low[0]} × {low[1]}" if low == high else f"{low[0]} × {low[1]} to {high[0]} × {high[1]}"
    span += f" px ({sizes.total()} were opened)" if sizes.total() < len(files) else " px"
    asked, held = channels.most_common(1)[0][0]
    longest = median(max(size) for size in sizes.elements())
    return Pictures(
        image_size=min(USUAL_SIZE, max(_MULTIPLE, int(longest) // _MULTIPLE * _MULTIPLE)),
        resize="squash" if all(max(size) <= _SQUARE * min(size) for size in sizes) else "pad",
        channels=asked,
        prepared_channels=held,
        sizes=span,
        groups=_groups(files),
    )


def _seen(content: bytes) -> tuple[tuple[int, ...], int | None]:
    """Height, width and channels, and what `data.channels` must be for the image to be read."""
    try:
        return read_image(content).shape, None
    except PictureError:
        asked = channels_of(content)
        return read_image(content, asked).shape, asked


def _groups(files: Iterable[str]) -> str:
    """A pattern for names such as p01_slice003, if each beginning is of several images and none of most."""
    names = [PurePath(file).with_suffix("").as_posix().partition("/")[2] for file in files]
    found = [_NUMBERED.fullmatch(name) for name in names]
    begins = Counter(one[1] for one in found if one)
    several = sum(count for count in begins.values() if count > 1)
    fits = len(begins) >= _FEWEST_GROUPS and several == len(names)
    return f"^{_NUMBERED.pattern}$" if fits and max(begins.values()) <= _LARGEST_SHARE * len(names) else ""


def _area(size: tuple[int, int]) -> int:
    return size[0] * size[1]
