"""Inspect a sample of images: sizes, channels, groups in their names."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Literal

from pipeline.errors import PipelineError
from pipeline.imaging.decode import count_channels, read_image
from pipeline.imaging.errors import ImageError
from pipeline.prepare.mask_sample import sample_evenly
from pipeline.prepare.safe_read import read_limited
from pipeline.prepare.splitting.groups import GroupSuggestion, name_below_images, suggest_groups

MAX_FILES = 200  # files that are opened
DEFAULT_SIZE = 128  # px; smaller images show too little of what they are of
_SQUARE = 1.1  # longer by shorter side, up to which nothing is lost by squashing
_MULTIPLE = 32  # px that suit every variant


@dataclass(frozen=True)
class ImageSummary:
    """What the images are like."""

    image_size: int  # the smallest that is proposed
    resize: Literal["stretch", "letterbox"]
    channels: int | None  # as `data.channels` has it
    prepared_channels: int  # that a network gets
    sizes: str  # from which to which, and of how many if not of all
    groups: GroupSuggestion | None  # that names suggest
    notices: tuple[str, ...] = ()  # guesses


def inspect_images(folder: Path, files: Sequence[str]) -> ImageSummary:
    """Open a sample of the images.

    Raises:
        PipelineError: None of them can be read.
    """
    sizes: Counter[tuple[int, int]] = Counter()  # width and height
    channels: Counter[tuple[int | None, int]] = Counter()
    reason, reasons = "", dict[int | None, str]()
    for file in sample_evenly(files, MAX_FILES):
        try:
            content = read_limited(folder / file)
            (height, width, held), asked, why = _read_shape(content)
        except (ImageError, OSError) as error:
            reason = f"{file} {error}"
            continue
        sizes[width, height] += 1
        channels[asked, held] += 1
        reasons.setdefault(asked, f"{file} {why}")
    if not sizes:
        raise PipelineError(f"{folder}: none of the images can be read; {reason}. Save them as PNG, JPEG or TIFF.")
    low, high = min(sizes, key=math.prod), max(sizes, key=math.prod)
    span = f"{low[0]} × {low[1]}" if low == high else f"{low[0]} × {low[1]} to {high[0]} × {high[1]}"
    span += f" px ({sizes.total()} were opened)" if sizes.total() < len(files) else " px"
    asked, held = channels.most_common(1)[0][0]
    longest = median(max(size) for size in sizes.elements())
    return ImageSummary(
        image_size=min(DEFAULT_SIZE, max(_MULTIPLE, int(longest) // _MULTIPLE * _MULTIPLE)),
        resize="stretch" if all(max(size) <= _SQUARE * min(size) for size in sizes) else "letterbox",
        channels=asked,
        prepared_channels=held,
        sizes=span,
        groups=suggest_groups([name_below_images(file) for file in files]),
        notices=() if asked is None else (f"data.channels: {asked} is proposed, since {reasons[asked]}.",),
    )


def _read_shape(content: bytes) -> tuple[tuple[int, ...], int | None, str]:
    """Read height, width and channels; what `data.channels` must be for the image to be read, and why."""
    try:
        return read_image(content).shape, None, ""
    except ImageError as error:
        asked = count_channels(content)
        return read_image(content, asked).shape, asked, str(error)
