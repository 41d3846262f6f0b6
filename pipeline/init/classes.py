"""Guess from a sample of the masks what their values mean, and say what was guessed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from scipy import stats

from pipeline.data.instances import BACKGROUND, BORDER, INSIDE
from pipeline.errors import PipelineError
from pipeline.init.mask_survey import MaskSurvey, survey_masks
from pipeline.init.proposal import colour
from pipeline.runs import IGNORE

VOID = 255  # often written where the class is unknown
FOREGROUND_VALUES = frozenset((1, 255, 65_535))  # by which tools write the one foreground class

_MAX_CLASSES = IGNORE - 1
_MAX_BELOW_VOID = 40  # highest class of data sets that write 255 for unknown; above, 255 is one gray of many

# Soft masks: values between two ends are on edges, and most pixels are at the ends.
_MIN_RAMPS, _MIN_SOFT_RANGE, _MIN_ENDS, _MIN_SOFT_VALUES = 0.7, 16, 0.6, 4

# Numbered objects: many values, each one connected region.
_MIN_NUMBERED, _MIN_COUNTS, _MIN_CONNECTED, _MIN_FILL, _MAX_TREND = 8, 3, 0.8, 0.6, -0.8
_MIN_PERHAPS_NUMBERED = 3  # values above 0, for a hint
_MAX_FAMILIES = 4  # sets of values that exclude each other; more are classes of which an image has one

_JPEG_ENDS = frozenset((0, 1, 254, 255))  # what a mask of 0 and 255 holds at least, once it was a JPEG


@dataclass(frozen=True)
class Classes:
    """What the masks hold, as a section says it."""

    section: dict[str, Any]  # classes, ignore, and perhaps instances or mask_threshold
    remarks: tuple[str, ...]  # of the classes, in their order
    ignore_remark: str = ""
    notices: tuple[str, ...] = ()  # what was guessed, and what to write if the guess is wrong


def look_at_masks(folder: Path, files: Sequence[str]) -> Classes:
    """Open a sample of the masks and guess their classes.

    Raises:
        PipelineError: None can be read, or they hold so many values that these are no classes.
    """
    seen = survey_masks(folder, files, colors=False)
    if seen is None:
        return _propose_colors(folder, files)
    if seen.palette_conflict is not None:
        conflict = (
            f"The palettes of the masks differ, so classes are told apart by color: {seen.palette_conflict.file} "
            f"{seen.palette_conflict.detail}."
        )
        return _propose_colors(folder, files, conflict)
    if not seen.count:
        raise PipelineError(f"{folder}: none of the masks can be read. Save them as PNG, a value or a colour a class.")
    guesses: tuple[Callable[[MaskSurvey], Classes | None], ...] = (
        _propose_soft,
        _propose_encodings,
        _propose_numbered,
    )
    for guess in guesses:
        if found := guess(seen):
            return found
    _refuse_too_many(folder, seen)
    return _propose_values(seen)


def _propose_colors(folder: Path, files: Sequence[str], *notices: str) -> Classes:
    seen = survey_masks(folder, files, colors=True)
    if seen is None or not seen.count:
        raise PipelineError(f"{folder}: none of the masks can be read. Save them as PNG, a value or a colour a class.")
    _refuse_too_many(folder, seen)
    return _propose_values(seen, *notices)


def _refuse_too_many(folder: Path, seen: MaskSurvey) -> None:
    was_jpeg = _was_jpeg(seen)
    if len(seen.pixels) <= (2 if was_jpeg else _MAX_CLASSES):
        return
    why = "JPEG changes pixel values" if was_jpeg else "perhaps they were resized or blurred"
    numbered = "" if was_jpeg or seen.colors else " If they number objects, it takes `instances: {border: 2}`."
    raise PipelineError(
        f"{folder}: the masks that were opened hold {len(seen.pixels)} different values, which are no classes: "
        f"{why}. Export the masks as PNG with a value a class, or write the section by hand; see "
        f"docs/your-own-data.md.{numbered}"
    )


def _was_jpeg(seen: MaskSurvey) -> bool:
    """Whether the values are not those that were drawn."""
    return seen.has_jpeg or (len(seen.pixels) > 2 and seen.pixels.keys() >= _JPEG_ENDS)


def _propose_soft(seen: MaskSurvey) -> Classes | None:
    """Two classes and a threshold, where masks of two values were resized, blurred or saved as JPEG."""
    low, high = min(seen.pixels), max(seen.pixels)
    margin = 0.05 * (high - low)
    ends = sum(count for value, count in seen.pixels.items() if not low + margin < value < high - margin)
    share = ends / seen.pixels.total()
    is_soft = (
        len(seen.pixels) >= _MIN_SOFT_VALUES
        and high - low >= _MIN_SOFT_RANGE
        and share >= _MIN_ENDS
        and (seen.ramp_share >= _MIN_RAMPS if seen.between else _was_jpeg(seen))
    )
    if not is_soft:
        return None
    threshold = (low + high + 1) // 2
    above = sum(count for value, count in seen.pixels.items() if value >= threshold) / seen.pixels.total()
    edges = f"{1 - share:.1%} of the pixels have values in between, nearly all on edges"
    why = f"masks of two classes with soft edges: {edges}" if seen.between else "masks of two classes, changed by JPEG"
    classes = [
        {"name": "background", "colour": colour(0), "foreground": False, "value": low},
        {"name": "foreground", "colour": colour(1), "foreground": True, "value": high},
    ]
    return Classes(
        {"classes": classes, "ignore": None, "mask_threshold": threshold},
        (f"{1 - above:.1%} of the pixels, below the threshold", f"{above:.1%} of the pixels"),
        notices=(
            f"The masks hold {len(seen.pixels)} values from {low} to {high} and are taken for {why}. "
            f"mask_threshold: {threshold} divides them.",
        ),
    )


def _propose_encodings(seen: MaskSurvey) -> Classes | None:
    """Two classes, where some masks write the foreground as 1 and others as 255."""
    others = [values - {0} for values in seen.values]
    used = frozenset().union(*others)
    by_mask = {next(iter(values)) for values in others if len(values) == 1}
    beside_background = {next(iter(values - {0})) for values in seen.values if 0 in values and len(values) == 2}
    if len(used) < 2 or not used <= FOREGROUND_VALUES or by_mask != used or any(len(v) > 1 for v in others):
        return None
    if VOID in used and VOID not in beside_background:
        return None  # masks that are 255 throughout, and nowhere else: more likely unknown
    listed = sorted(used)
    counts = ", ".join(f"{value} in {seen.masks[value]} masks" for value in listed)
    share = sum(seen.pixels[value] for value in listed) / seen.pixels.total()
    classes = [
        {"name": "background", "colour": colour(0), "foreground": False, "value": 0},
        {"name": "foreground", "colour": colour(1), "foreground": True, "value": listed},
    ]
    return Classes(
        {"classes": classes, "ignore": None},
        (f"{1 - share:.1%} of the pixels", f"{share:.1%} of the pixels: {counts}"),
        notices=(
            f"The foreground is written in {len(listed)} ways, and no mask holds two of them: {counts}. Both are taken "
            f"for one class, value: {listed}. If {listed[-1]} means unknown instead, write value: {listed[0]} and "
            f"ignore: {listed[-1]}.",
        ),
    )


def _propose_numbered(seen: MaskSurvey) -> Classes | None:
    """Background, inside and border, where masks number objects."""
    if not _are_numbered(seen):
        return None
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
    most = max(len(values - {0}) for values in seen.values)
    remarks = (f"the masks number up to {most} objects", "what is left of each inside its border", "between objects")
    notice = (
        f"The masks hold {len(seen.pixels)} values, nearly each of them one connected region, and are taken for "
        f"numbered objects (instances). If the values are classes instead, list them in data.classes and write "
        f"instances: null."
    )
    return Classes({"classes": classes, "ignore": None, "instances": {"border": 2}}, remarks, notices=(notice,))


def _are_numbered(seen: MaskSurvey) -> bool:
    """Whether masks number objects, per mask from 1 on with or without gaps, or on and on over all masks."""
    objects = [values - {0} for values in seen.values if values - {0}]
    if len(seen.pixels) <= _MIN_NUMBERED or not objects or seen.connected_share < _MIN_CONNECTED:
        return False
    return _count_from_one(objects) or _run_on(objects)


def _count_from_one(objects: Sequence[frozenset[int]]) -> bool:
    """Whether the values of masks are numbers from 1 on: filled up to the highest, and the higher the rarer."""
    filled = median(len(values) / max(values) for values in objects)
    if filled < _MIN_FILL or len({max(values) for values in objects}) < _MIN_COUNTS:
        return False
    numbers = np.arange(1, max(map(max, objects)) + 1)
    holding = [sum(number in values for values in objects) for number in numbers.tolist()]
    return bool(stats.spearmanr(numbers, holding).statistic < _MAX_TREND)


def _run_on(objects: Sequence[frozenset[int]]) -> bool:
    """Whether the numbers of each mask begin where those of another end."""
    spans = sorted((min(values), max(values)) for values in objects)
    return len(spans) > 1 and all(before[1] < after[0] for before, after in pairwise(spans))


def _propose_values(seen: MaskSurvey, *notices: str) -> Classes:
    """A class for each value."""
    void = _find_void(seen)
    values = sorted(seen.pixels.keys() - {void})
    background = 0 if 0 in values else max(values, key=lambda value: seen.pixels[value])
    ordered = [background, *(value for value in values if value != background)]
    total = sum(seen.pixels[value] for value in values)
    classes, remarks = [], []
    for place, value in enumerate(ordered):
        named = f"class_{place}" if seen.colors else f"class_{value}"
        name = "background" if value == background else "foreground" if len(ordered) == 2 else named
        spelt = f"#{value:06x}" if seen.colors else value
        foreground = value != background
        classes.append({"name": name, "colour": colour(place), "foreground": foreground, "value": spelt})
        share = seen.pixels[value] / total
        remarks.append(f"{share:.1%} of the pixels, in {seen.masks[value]} of {seen.count} masks that were opened")
    if len(ordered) == 1:
        raise PipelineError(
            f"all {seen.count} masks that were opened hold nothing but the value {classes[0]['value']}: there is "
            f"nothing to learn. Export them anew."
        )
    remark = f"often written where the class is unknown; in {seen.masks[VOID]} masks" if void is not None else ""
    return Classes(
        {"classes": classes, "ignore": void}, tuple(remarks), remark, (*notices, *_doubts(seen, void, ordered))
    )


def _find_void(seen: MaskSurvey) -> int | None:
    """255, where it plausibly marks unknown pixels: beside few classes, and not as most of the foreground."""
    others = seen.pixels.keys() - {VOID}
    if seen.colors or VOID not in seen.pixels or len(others) < 2 or max(others) > _MAX_BELOW_VOID:
        return None
    alone = [values for values in seen.values if VOID in values and not values - {0, VOID} and 0 in values]
    beside = [values for values in seen.values if VOID in values and values - {0, VOID}]
    foreground = sum(count for value, count in seen.pixels.items() if value not in (0, VOID))
    if len(alone) > len(beside) or (beside and seen.pixels[VOID] > foreground and 0 in others):
        return None
    return VOID


def _doubts(seen: MaskSurvey, void: int | None, ordered: Sequence[int]) -> list[str]:
    """What may be meant otherwise than it was taken."""
    spell = (lambda value: f"#{value:06x}") if seen.colors else str
    background, *others = ordered
    doubts = []
    if void is not None:
        doubts.append(
            f"{void} is taken for unknown pixels (ignore: {void}): it is in {seen.masks[void]} of {seen.count} masks. "
            f"If it is a class, list it in data.classes and write ignore: null."
        )
    elif VOID in others and len(others) > 1 and not seen.colors:
        doubts.append(
            f"255 is taken for a class: it is in {seen.masks[VOID]} of {seen.count} masks. If it means unknown, remove "
            f"the class and write ignore: 255."
        )
    once = [value for value in ordered if seen.masks[value] == 1]
    if once and seen.count >= 10:
        named = ", ".join(f"{spell(value)} ({seen.pixels[value]:,} pixels)" for value in once[:10])
        more = f" and {len(once) - 10} more" if len(once) > 10 else ""
        doubts.append(
            f"In one of {seen.count} masks only: {named}{more}. A rare class, or a mistake in that mask? Of a mistake, "
            f"remove the class; the check then names the mask."
        )
    if families := _find_families(seen, {background, void}):
        named = "; ".join(", ".join(map(spell, sorted(family))) for family in families[:4])
        doubts.append(
            f"No mask holds values of two of these families: {named}. If they are two ways of writing the same "
            f"classes, merge them, such as value: [{', '.join(spell(min(family)) for family in families[:2])}]."
        )
    if len(others) >= _MIN_PERHAPS_NUMBERED and seen.connected_share >= _MIN_CONNECTED and not seen.colors:
        doubts.append(
            "Nearly every value is one connected region in its mask, as numbers of objects are. If the values number "
            "objects instead of naming classes, write instances: {border: 2} and its three classes; see "
            "docs/microscopy.md."
        )
    share = seen.pixels[background] / seen.pixels.total()
    if len(others) >= 10 and share < 0.1:
        doubts.append(
            f"{spell(background)} is taken for a class, background, and is {share:.1%} of the pixels. If it means "
            f"unlabeled, remove the class and write ignore: {spell(background)}."
        )
    return doubts


def _find_families(seen: MaskSurvey, shared: set[int | None]) -> list[set[int]]:
    """Sets of values that never occur in one mask, but for shared ones; empty where there is one set, or very many."""
    families: list[set[int]] = []
    for values in seen.values:
        found = set(values - shared)
        if found:
            joined = [family for family in families if family & found]
            families = [family for family in families if not family & found] + [found.union(*joined)]
    return sorted(families, key=min) if 1 < len(families) <= _MAX_FAMILIES else []
