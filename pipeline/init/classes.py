"""The classes that a sample of the masks shows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.data.instances import BACKGROUND, BORDER, INSIDE
from pipeline.data.mask_decoding import read_mask
from pipeline.data.picture_error import PictureError
from pipeline.errors import PipelineError
from pipeline.init.pictures import sampled
from pipeline.init.proposal import colour
from pipeline.prepare.files import content_of

_VOID = 255  # what many data sets write where nobody knows
_MOST = 40  # classes: masks with more values were blurred, or number objects
_JPEG, _EXACT = b"\xff\xd8", 2  # how a JPEG begins, and how many values it may keep as they were
_WAS_JPEG = {0, 1, 254, 255}  # what a mask of 0 and 255 holds at least, once it was a JPEG
_FEWEST_NUMBERED, _FEWEST_COUNTS = 8, 3  # values in all, and different numbers of them, that make masks look numbered


@dataclass(frozen=True)
class Classes:
    """What the masks hold, as a section says it."""

    section: dict[str, Any]  # classes, ignore, and perhaps instances
    remarks: tuple[str, ...]  # of the classes, in their order
    ignore_remark: str = ""


@dataclass
class _Seen:
    """The values in the masks that were opened."""

    pixels: Counter[int]
    masks: Counter[int]  # that hold a value
    highest: Counter[int]  # of masks with all values from 0 up to it
    colours: bool
    count: int = 0
    any_jpeg: bool = False

    @property
    def lossy(self) -> bool:
        """Whether the values are not those that were drawn."""
        return self.any_jpeg or (len(self.pixels) <= _MOST and self.pixels.keys() >= _WAS_JPEG)


def look_at_masks(folder: Path, files: Sequence[str]) -> Classes:
    """Open a sample of the masks.

    Raises:
        PipelineError: None can be read, they are JPEGs, or they hold so many values that these are no classes.
    """
    chosen = sampled(files)
    seen = _seen(folder, chosen, colours=False) or _seen(folder, chosen, colours=True)
    if seen is None or not seen.count:
        raise PipelineError(f"{folder}: none of the masks can be read. Save them as PNG, a value or a colour a class.")
    if _are_numbered(seen):
        return _numbered(seen)
    if len(seen.pixels) > (_EXACT if seen.lossy else _MOST):
        why = "JPEG changes pixel values" if seen.lossy else "perhaps they were resized or blurred"
        numbered = "" if seen.lossy or seen.colours else " If they number objects, it takes `instances: {border: 2}`."
        raise PipelineError(
            f"{folder}: the masks that were opened hold {len(seen.pixels)} different values, which are no classes: "
            f"{why}. Export the masks as PNG with a value a class, or write the section by hand; see "
            f"docs/your-own-data.md.{numbered}"
        )
    return _valued(seen)


def _seen(folder: Path, files: Sequence[str], colours: bool) -> _Seen | None:
    """The values of the masks; None where a mask holds colours, and values were expected."""
    seen = _Seen(Counter(), Counter(), Counter(), colours)
    for file in files:
        content = b""
        try:
            content = content_of(folder / file)
            mask = read_mask(content, colours)
        except (PictureError, OSError):
            if not colours and _is_read(content, colours=True):
                return None
            continue
        values, pixels = np.unique(mask, return_counts=True)
        seen.pixels.update(dict(zip(values.tolist(), pixels.tolist(), strict=True)))
        seen.masks.update(values.tolist())
        seen.count += 1
        seen.any_jpeg |= content.startswith(_JPEG)
        if not colours and values[-1] == len(values) - 1:
            seen.highest[len(values)] += 1
        if colours and len(seen.pixels) > _MOST:  # photographs by mistake: each would bring a million more
            break
    return seen


def _is_read(content: bytes, colours: bool) -> bool:
    try:
        read_mask(content, colours)
    except PictureError:
        return False
    return True


def _are_numbered(seen: _Seen) -> bool:
    """Whether masks number objects: from 0 on without a gap, and not as many in each."""
    gapless = sum(seen.highest.values()) > seen.count / 2
    varied = len(seen.pixels) > _FEWEST_NUMBERED and len(seen.highest) >= _FEWEST_COUNTS
    return gapless and varied and not seen.lossy


def _numbered(seen: _Seen) -> Classes:
    names = ((BACKGROUND, "background"), (INSIDE, "object"), (BORDER, "border"))
    classes = [
        {
            "name": name,
            "colour": colour(place),
            "foreground": name == "object",
            "edge": name == "border",
            "value": value,
        }
        for place, (value, name) in enumerate(names)
    ]
    most = max(seen.highest) - 1
    remarks = (f"the masks number up to {most} objects", "what is left of each inside its border", "between objects")
    return Classes({"classes": classes, "ignore": None, "instances": {"border": 2}}, remarks)


def _valued(seen: _Seen) -> Classes:
    values = sorted(seen.pixels)
    others = [value for value in values if value != _VOID]
    is_void = not seen.colours and _VOID in values and len(others) > 1 and others[-1] <= _MOST
    values = others if is_void else values
    background = 0 if 0 in values else max(values, key=lambda value: seen.pixels[value])
    ordered = [background, *(value for value in values if value != background)]
    total = sum(seen.pixels[value] for value in values)
    classes, remarks = [], []
    for place, value in enumerate(ordered):
        named = f"class_{place}" if seen.colours else f"class_{value}"
        name = "background" if value == background else "foreground" if len(ordered) == 2 else named
        spelt = f"#{value:06x}" if seen.colours else value
        foreground = value != background
        classes.append({"name": name, "colour": colour(place), "foreground": foreground, "value": spelt})
        share = seen.pixels[value] / total
        remarks.append(f"{share:.1%} of the pixels, in {seen.masks[value]} of {seen.count} masks that were opened")
    if len(ordered) == 1:
        raise PipelineError(
            f"all {seen.count} masks that were opened hold nothing but the value {classes[0]['value']}: there is "
            f"nothing to learn. Export them anew."
        )
    void = f"what many data sets write where nobody knows; in {seen.masks[_VOID]} masks" if is_void else ""
    return Classes({"classes": classes, "ignore": _VOID if is_void else None}, tuple(remarks), void)
