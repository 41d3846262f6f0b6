"""Suggest classes for masks that consist of several files: one per object, or one per class."""

from __future__ import annotations

from collections import Counter
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import PipelineError
from pipeline.imaging import IGNORE
from pipeline.imaging.errors import ImageError
from pipeline.imaging.mask_decoding import MAX_NUMBER, decode_mask
from pipeline.init.class_labels import make_class_names, suggest_colors
from pipeline.init.mask_classes import build_instance_classes
from pipeline.init.suggestion import SuggestedClasses
from pipeline.params.data.file_pattern import OBJECT
from pipeline.prepare.mask_parts import MaskPart
from pipeline.prepare.mask_sample import sample_evenly
from pipeline.prepare.read_file import read_file
from pipeline.prepare.sources.image_files import ImageFiles

_MAX_MASKS = 40  # masks whose files are opened
_BORDER = 2  # px


def suggest_part_classes(folder: Path, masks: ImageFiles) -> SuggestedClasses:
    """Suggest classes for masks of one object or one class per file.

    Raises:
        PipelineError: None of the masks can be read, or there are too many classes.
    """
    parts = list(masks.parts.values())
    files = [_decode(folder, several) for several in sample_evenly(parts, _MAX_MASKS)]
    decoded = list(chain.from_iterable(files))
    if not decoded:
        raise PipelineError(f"{folder}: none of the masks can be read. Save them as PNG.")
    section, notices = {}, []
    highest = max(int(values.max()) for values in decoded)
    if any(len(np.unique(values)) > 2 for values in decoded):
        section["mask_threshold"] = threshold = (highest + 1) // 2
        notices.append(
            f"Some files have values between 0 and {highest}, so mask_threshold: {threshold} is suggested: pixels at "
            f"or above this value belong to the object or class of the file."
        )
    if masks.pattern.part == OBJECT:
        return SuggestedClasses(
            {"classes": build_instance_classes(), "ignore_value": None, "instances": {"border": _BORDER}, **section},
            (f"each image has up to {max(map(len, parts))} files of one object", "", "between objects"),
            (*notices, "For two classes, object and background, remove the class border and write instances: null."),
        )
    counts = Counter(part.text for several in parts for part in several)
    if len(counts) >= IGNORE:
        raise PipelineError(
            f"{folder}: {{class}} in '{masks.pattern.text}' matches {len(counts)} different texts, such as "
            f"{', '.join(sorted(counts)[:3])}. If they tell objects apart, write {{object}} instead."
        )
    if overlapping := sum(_overlap(several) for several in files):
        notices.append(
            f"In {overlapping} of {len(files)} masks that were opened, files of several classes overlap. The class "
            f"that data.classes lists last is on top."
        )
    names = make_class_names(["background", *sorted(counts)])
    classes = [
        {"name": name, "color": color, "foreground": text is not None, "mask_value": text}
        for name, color, text in zip(names, suggest_colors(len(names)), [None, *sorted(counts)], strict=True)
    ]
    remarks = ["pixels that no file marks", *(f"{counts[text]} of {len(parts)} images" for text in sorted(counts))]
    return SuggestedClasses({"classes": classes, "ignore_value": None, **section}, tuple(remarks), tuple(notices))


def _decode(folder: Path, parts: list[MaskPart]) -> list[NDArray[np.integer]]:
    """Decode the files of a mask; files that cannot be read are left out."""
    decoded = []
    for part in parts:
        try:
            decoded.append(decode_mask(read_file(folder, part.file), colors=False, max_value=MAX_NUMBER).values)
        except (ImageError, OSError):
            continue
    return decoded


def _overlap(files: list[NDArray[np.integer]]) -> bool:
    """Return whether a pixel is marked in several files of the same size."""
    if len({values.shape for values in files}) != 1:
        return False
    return bool((np.sum([values > 0 for values in files], axis=0) > 1).any())
