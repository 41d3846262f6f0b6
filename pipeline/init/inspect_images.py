"""Suggest a `data` section from the sizes, channels and names of a sample of images."""

from __future__ import annotations

import io
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from pipeline.errors import PipelineError
from pipeline.imaging.decode import count_channels, read_image
from pipeline.imaging.errors import ImageError
from pipeline.imaging.tiff_resolution import StatedPixelSize, read_pixel_size
from pipeline.init.pixel_sizes import suggest_pixel_size
from pipeline.init.suggestion import SuggestedClasses, Suggestion
from pipeline.prepare.mask_sample import sample_evenly
from pipeline.prepare.read_file import read_file
from pipeline.prepare.size_effects import MULTIPLE
from pipeline.prepare.splitting.groups import suggest_groups
from pipeline.prepare.splitting.read_splits import DEFAULT_LIST
from pipeline.volumes.slice_file import IntensityWindow
from pipeline.wording import pluralize

MAX_FILES = 200  # images that are opened
DEFAULT_SIZE = 128  # px; smaller images show too little detail
_SQUARE = 1.1  # maximum ratio of longer to shorter side for stretching images


def suggest_section(
    source: str,
    folder: Path,
    names: Mapping[str, str],
    classes: SuggestedClasses,
    splits: Mapping[str, Any] | None = None,
    window: IntensityWindow | None = None,
) -> Suggestion:
    """Suggest a section for a source with these image files and classes.

    Args:
        source: Value of `data.source`.
        folder: Folder of the source.
        names: Names of the images, with / after folders, by file.
        classes: Suggested classes, and other keys of the section.
        splits: Keys of `data.splits` that the layout of the folder determines.
        window: Mapping of the intensities of slices to gray values.

    Raises:
        PipelineError: None of the images can be read.
    """
    files = sorted(names)
    images = _Images.inspect(folder, files, window)
    span = images.describe_sizes()
    asked, held = images.channels.most_common(1)[0][0]
    longest = median(max(size) for size in images.sizes.elements())
    has_list = (folder / DEFAULT_LIST.file).is_file()
    shares: dict[str, Any] = {"validation": 0.15, "test": 0.15, "split_file": None}
    if not has_list:
        shares["stratify"] = True
    splits = {**shares, **(splits or {})}
    has_groups = has_list or "group_regex" in splits
    groups = None if has_groups else suggest_groups([names[file] for file in files])
    where: dict[str, Any] = {
        key: classes.section[key]
        for key in ("images", "masks", "slices", "annotations", "attribute", "area", "scenes")
        if key in classes.section
    }
    pixel, unit, pixel_notices = suggest_pixel_size(images.pixel_sizes)
    section: dict[str, Any] = {
        "source": source,
        "path": str(folder),
        **where,
        "image_size": min(DEFAULT_SIZE, max(MULTIPLE, int(longest) // MULTIPLE * MULTIPLE)),
        "resize": "stretch" if all(max(size) <= _SQUARE * min(size) for size in images.sizes) else "letterbox",
        "channels": asked,
        "pixel_size": pixel,
        "pixel_unit": unit,
        **classes.section,
        "splits": splits,
        "on_invalid": "error",
        "showcase_ids": None,
        "seed": 0,
        "max_train_images": None,
    }
    remarks = {
        "image_size": f"px, a multiple of 32; the images are {span}",
        "splits": f"{DEFAULT_LIST.file} has the split of each image" if has_list else "shares of the images",
    }
    if pixel is not None:
        remarks["pixel_size"] = (
            "size of a pixel of the original images, from their metadata; empty: distances are in px"
        )
    notices = [*classes.notices, *pixel_notices]
    if asked is not None:
        notices.append(f"data.channels: {asked} is proposed, because {images.reasons[asked]}.")
    if groups:
        notices.append(groups.sentence("data"))
    return Suggestion(
        section=section,
        found=f"{pluralize(len(files), 'image')} of {span}",
        training=int(len(files) * (1 - splits["validation"] - splits["test"])),
        remarks=remarks | classes.remarks,
        class_remarks=classes.class_remarks,
        groups=groups.regex if groups else "",
        channels=held,
        sizes={(height, width): count for (width, height), count in images.sizes.items()},
        notices=tuple(notices),
    )


@dataclass(frozen=True)
class _Images:
    """Contents of a sample of the image files."""

    sizes: Counter[tuple[int, int]]  # width and height
    channels: Counter[tuple[int | None, int]]  # value of `data.channels`, and number of channels
    reasons: dict[int | None, str]  # why a value of `data.channels` is needed, by that value
    pixel_sizes: list[StatedPixelSize | None]  # as stated in the files
    is_sample: bool  # whether some files were not opened

    @classmethod
    def inspect(cls, folder: Path, files: Sequence[str], window: IntensityWindow | None) -> _Images:
        """Open up to `MAX_FILES` files. Raise `PipelineError` if none of them can be read."""
        sizes, channels = Counter[tuple[int, int]](), Counter[tuple[int | None, int]]()
        pixel_sizes: list[StatedPixelSize | None] = []
        failure, reasons = "", dict[int | None, str]()
        for file in sample_evenly(files, MAX_FILES):
            try:
                content = read_file(folder, file, window)
                (height, width, held), asked, why = _read_shape(content)
            except (ImageError, OSError) as error:
                failure = f"{file} {error}"
                continue
            sizes[width, height] += 1
            pixel_sizes.append(read_pixel_size(io.BytesIO(content)))
            channels[asked, held] += 1
            reasons.setdefault(asked, f"{file} {why}")
        if not sizes:
            raise PipelineError(
                f"{folder}: none of the images can be read (for example, {failure}). Save them as PNG, JPEG or TIFF."
            )
        return cls(sizes, channels, reasons, pixel_sizes, is_sample=sizes.total() < len(files))

    def describe_sizes(self) -> str:
        """Describe the smallest and the largest image, such as `64 × 48 to 500 × 375 px`."""
        low, high = min(self.sizes, key=math.prod), max(self.sizes, key=math.prod)
        span = f"{low[0]} × {low[1]}" if low == high else f"{low[0]} × {low[1]} to {high[0]} × {high[1]}"
        return f"{span} px ({self.sizes.total()} were opened)" if self.is_sample else f"{span} px"


def _read_shape(content: bytes) -> tuple[tuple[int, ...], int | None, str]:
    """Return an image's shape, the `data.channels` that it requires (None if it requires none), and the reason."""
    try:
        return read_image(content).shape, None, ""
    except ImageError as error:
        asked = count_channels(content)
        return read_image(content, asked).shape, asked, str(error)
