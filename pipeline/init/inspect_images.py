"""Suggest a `data` section from the sizes, channels and names of a sample of images."""

from __future__ import annotations

import io
import math
from collections import Counter
from collections.abc import Mapping
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
    sizes: Counter[tuple[int, int]] = Counter()  # width and height
    channels: Counter[tuple[int | None, int]] = Counter()  # value of `data.channels`, and number of channels
    stated: list[StatedPixelSize | None] = []
    reason, reasons = "", dict[int | None, str]()
    files = sorted(names)
    for file in sample_evenly(files, MAX_FILES):
        try:
            content = read_file(folder, file, window)
            (height, width, held), asked, why = _read_shape(content)
        except (ImageError, OSError) as error:
            reason = f"{file} {error}"
            continue
        sizes[width, height] += 1
        stated.append(read_pixel_size(io.BytesIO(content)))
        channels[asked, held] += 1
        reasons.setdefault(asked, f"{file} {why}")
    if not sizes:
        raise PipelineError(
            f"{folder}: none of the images can be read (for example, {reason}). Save them as PNG, JPEG or TIFF."
        )
    low, high = min(sizes, key=math.prod), max(sizes, key=math.prod)
    span = f"{low[0]} × {low[1]}" if low == high else f"{low[0]} × {low[1]} to {high[0]} × {high[1]}"
    span += f" px ({sizes.total()} were opened)" if sizes.total() < len(files) else " px"
    asked, held = channels.most_common(1)[0][0]
    longest = median(max(size) for size in sizes.elements())
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
    pixel, unit, pixel_notices = suggest_pixel_size(stated)
    section: dict[str, Any] = {
        "source": source,
        "path": str(folder),
        **where,
        "image_size": min(DEFAULT_SIZE, max(MULTIPLE, int(longest) // MULTIPLE * MULTIPLE)),
        "resize": "stretch" if all(max(size) <= _SQUARE * min(size) for size in sizes) else "letterbox",
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
        notices.append(f"data.channels: {asked} is proposed, because {reasons[asked]}.")
    if groups:
        notices.append(groups.sentence("data"))
    return Suggestion(
        section=section,
        found=f"{len(files)} images of {span}",
        training=int(len(files) * (1 - splits["validation"] - splits["test"])),
        remarks=remarks | classes.remarks,
        class_remarks=classes.class_remarks,
        groups=groups.regex if groups else "",
        channels=held,
        sizes={(height, width): count for (width, height), count in sizes.items()},
        notices=tuple(notices),
    )


def _read_shape(content: bytes) -> tuple[tuple[int, ...], int | None, str]:
    """Return an image's shape, the `data.channels` that it requires (None if it requires none), and the reason."""
    try:
        return read_image(content).shape, None, ""
    except ImageError as error:
        asked = count_channels(content)
        return read_image(content, asked).shape, asked, str(error)
