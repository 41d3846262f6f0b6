"""Suggest classes for masks of numbered objects, soft masks, or masks whose values are classes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

from scipy import stats

from pipeline.errors import PipelineError
from pipeline.imaging import IGNORE
from pipeline.imaging.instances import BACKGROUND, BORDER, INSIDE
from pipeline.init.class_labels import OKABE_ITO
from pipeline.init.mask_notices import describe_background
from pipeline.init.mask_survey import MIN_CONNECTED, MaskSurvey, survey_masks
from pipeline.init.suggestion import SuggestedClasses
from pipeline.init.value_classes import suggest_value_classes
from pipeline.prepare.data_issues import DataIssue
from pipeline.prepare.dataset_stats import describe_faint
from pipeline.wording import join_names, pluralize

_MAX_RAMPS = 0.5  # share of intermediate values on soft edges
_MIN_VALUES, _MIN_COUNTS, _MIN_FILL, _MAX_TREND = 8, 3, 0.6, -0.8
_MIN_MASKS, _MIN_NUMBERS, _MIN_UNIQUE = 5, 5, 0.8  # masks with objects; numbers; share of numbers in few masks
_MAX_SHARED, _MIN_SHARING = 2, 20  # masks per number if there are many masks, because crops of an image share objects

_FOREGROUND_VALUES = frozenset((1, 255, 65_535))  # common values of a single foreground class

_MAX_CLASSES = IGNORE - 1

# In soft masks, most pixels have one of two extreme values, and intermediate values are on edges.
_MIN_RAMPS, _MIN_SOFT_RANGE, _MIN_ENDS, _MIN_SOFT_VALUES = 0.7, 16, 0.6, 4
# In masks of two values, JPEG of the usual qualities (75 to 95) changes hardly any pixel by more than this fraction of
# the range. More such pixels are another class.
_LOSSY_CHANGE, _MAX_CHANGED = 0.15, 1e-4

_MAX_SPREAD = 2  # colors per index; with more, the masks' palettes are arbitrary

_JPEG_ENDS = frozenset((0, 1, 2, 253, 254, 255))  # values in every mask of 0 and 255 that was saved as JPEG


def are_numbered(survey: MaskSurvey) -> bool:
    """Return whether mask values number objects instead of denoting classes.

    This is the case if the numbers start at 1 in each mask, if they continue from mask to mask, if nearly all of them
    occur in only one or two masks (as in crops of a label image), or if there are more values than allowed classes.
    """
    objects = [values - {0} for values in survey.values if values - {0}]
    if not objects or survey.lossy or survey.connected_share < MIN_CONNECTED or survey.ramp_share >= _MAX_RAMPS:
        return False
    if len(survey.pixels) > IGNORE:
        return True
    if _are_unique(survey, objects):
        return True
    return len(survey.pixels) > _MIN_VALUES and (_are_counted_from_one(objects) or _are_consecutive(objects))


def _are_counted_from_one(objects: Sequence[frozenset[int]]) -> bool:
    """Return whether most masks contain the values from 1 to their maximum, and higher values are in fewer masks."""
    filled = [values for values in objects if len(values) >= _MIN_FILL * max(values)]
    if len(filled) < len(objects) / 2 or len({max(values) for values in filled}) < _MIN_COUNTS:
        return False
    masks = Counter(chain.from_iterable(objects))
    numbers = range(1, max(map(max, filled)) + 1)  # other masks may contain huge numbers
    return bool(stats.spearmanr(numbers, [masks[number] for number in numbers]).statistic < _MAX_TREND)


def _are_consecutive(objects: Sequence[frozenset[int]]) -> bool:
    """Return whether the numbers of each mask begin where those of another end."""
    spans = sorted((min(values), max(values)) for values in objects)
    return len(spans) > 1 and all(before[1] < after[0] for before, after in pairwise(spans))


def _are_unique(survey: MaskSurvey, objects: Sequence[frozenset[int]]) -> bool:
    """Return whether nearly every number is in only one mask (or two of many masks). Classes would be in more."""
    held = [survey.masks[value] for value in survey.pixels if value]
    few = sum(count <= (_MAX_SHARED if len(objects) >= _MIN_SHARING else 1) for count in held)
    return len(objects) >= _MIN_MASKS and len(held) >= _MIN_NUMBERS and few >= _MIN_UNIQUE * len(held)


def suggest_classes(folder: Path, files: Sequence[str]) -> SuggestedClasses:
    """Read a sample of the masks and guess their classes.

    Raises:
        PipelineError: No mask can be read, or the masks have too many values to be classes.
    """
    survey = survey_masks(folder, files)
    if not survey.opened:
        raise PipelineError(
            f"{folder}: none of the masks can be read (for example, {survey.unreadable}). Save them as PNG with one "
            f"value or color per class."
        )
    suggested = _interpret(folder, files, survey)
    if not survey.num_unreadable:
        return suggested
    notice = f"{survey.describe_unreadable()}. The classes are proposed from the others."
    return replace(suggested, notices=(notice, *suggested.notices))


def _interpret(folder: Path, files: Sequence[str], survey: MaskSurvey) -> SuggestedClasses:
    """Suggest the classes of masks that could be read; for exceptions, see `suggest_classes`."""
    if not survey.colors:
        conflict = survey.palette_conflict
        if conflict is not None and (survey.background_conflict is not None or not are_numbered(survey)):
            return _suggest_from_palettes(folder, files, survey, conflict)
        if found := _suggest_numbered(survey) or _suggest_soft(survey) or _suggest_encodings(survey):
            return found
    _refuse_too_many(folder, survey)
    return suggest_value_classes(folder, survey)


def _suggest_from_palettes(
    folder: Path, files: Sequence[str], indices: MaskSurvey, conflict: DataIssue
) -> SuggestedClasses:
    """Suggest a class for each color, because the masks have different palettes.

    Raises:
        PipelineError: The palettes are arbitrary, so their colors do not identify classes.
    """
    survey = survey_masks(folder, files, colors=True)
    single = sum(count == 1 for count in survey.masks.values())
    if len(survey.pixels) > _MAX_SPREAD * len(indices.pixels) and single > len(survey.pixels) / 2:
        raise PipelineError(
            f"{folder}: the palettes of the masks differ ({conflict.file} {conflict.detail}), and {single} of "
            f"{len(survey.pixels)} colors appear in only one mask, so they do not identify classes. If the indices do, "
            f"save the masks without palettes, as gray PNGs whose values are the indices."
        )
    _refuse_too_many(folder, survey)
    why = f"The palettes of the masks differ, so classes are read by color: {conflict.file} {conflict.detail}."
    return suggest_value_classes(folder, survey, why)


def _refuse_too_many(folder: Path, survey: MaskSurvey) -> None:
    was_lossy = _was_lossy(survey)
    if len(survey.pixels) <= (2 if was_lossy else _MAX_CLASSES):
        return
    why = f"{survey.lossy or 'JPEG'} changes pixel values" if was_lossy else "perhaps they were resized or blurred"
    perhaps = "" if survey.colors else " If they number objects, write `instances: {border: 2}`."
    if was_lossy and not survey.colors:
        middle = (min(survey.pixels) + max(survey.pixels) + 1) // 2
        perhaps = f" If they have two classes, write `mask_threshold: {middle}`."
    raise PipelineError(
        f"{folder}: the masks that were read have {len(survey.pixels)} different values, which are not classes: {why}. "
        f"Export the masks as PNG with one value per class, or write the section by hand; see "
        f"docs/how-to/folder-of-images.md.{perhaps}"
    )


def _was_lossy(survey: MaskSurvey) -> bool:
    """Return whether lossy compression changed the values."""
    return bool(survey.lossy) or (len(survey.pixels) > 2 and survey.pixels.keys() >= _JPEG_ENDS)


def _suggest_soft(survey: MaskSurvey) -> SuggestedClasses | None:
    """Suggest two classes and a threshold if masks of two values were resized, blurred or saved as JPEG."""
    low, high = min(survey.pixels), max(survey.pixels)

    def measure_share_between(margin: float) -> float:
        low_end, high_end = low + margin * (high - low), high - margin * (high - low)
        return sum(count for value, count in survey.pixels.items() if low_end < value < high_end) / pixels

    pixels = survey.pixels.total()
    share = 1 - measure_share_between(0.05)
    has_two_values = len(survey.pixels) >= _MIN_SOFT_VALUES and high - low >= _MIN_SOFT_RANGE and share >= _MIN_ENDS
    has_ramps = survey.ramp_share >= _MIN_RAMPS
    is_soft = has_ramps or (_was_lossy(survey) and measure_share_between(_LOSSY_CHANGE) <= _MAX_CHANGED)
    if not has_two_values or not is_soft:
        return None
    threshold = (low + high + 1) // 2
    above = sum(count for value, count in survey.pixels.items() if value >= threshold) / survey.pixels.total()
    edges = f"{1 - share:.1%} of the pixels have intermediate values, nearly all on edges"
    why = (
        f"masks of two classes with soft edges: {edges}"
        if has_ramps
        else f"masks of two classes, changed by {survey.lossy or 'JPEG'}"
    )
    return SuggestedClasses(
        {"classes": _build_two_classes(low, high), "ignore_value": None, "mask_threshold": threshold},
        (f"{1 - above:.1%} of the pixels, below the threshold", f"{above:.1%} of the pixels"),
        notices=(
            f"The masks have {len(survey.pixels)} values from {low} to {high} and are interpreted as {why}. "
            f"mask_threshold: {threshold} separates them. If the values are classes instead, list them in data.classes "
            f"and write mask_threshold: null.",
            *describe_faint(_find_faint(survey, low, threshold), "data"),
            *describe_background(survey, lambda value: value >= threshold),
        ),
    )


def _find_faint(survey: MaskSurvey, low: int, threshold: int) -> dict[str, int]:
    """Find masks whose foreground is below the threshold, such as masks of 0 and 1 among masks of 0 and 255.

    Returns:
        The highest value of each of these masks, by file.
    """
    return {mask.file: max(mask.values) for mask in survey.opened if low < max(mask.values) < threshold}


def _build_two_classes(background: int, foreground: int | list[int]) -> list[dict[str, Any]]:
    return [
        {"name": "background", "color": OKABE_ITO[0], "foreground": False, "mask_value": background},
        {"name": "foreground", "color": OKABE_ITO[1], "foreground": True, "mask_value": foreground},
    ]


def _suggest_encodings(survey: MaskSurvey) -> SuggestedClasses | None:
    """Suggest two classes if the foreground is 1 in some masks and 255 in others."""
    used = survey.pixels.keys() - {0}
    if len(used) < 2 or not used <= _FOREGROUND_VALUES or any(len(values - {0}) > 1 for values in survey.values):
        return None
    if any({0, value} not in survey.values for value in used):
        return None  # a value that fills only whole masks more likely means unknown
    written = sorted(used)
    counts = ", ".join(f"{value} in {survey.masks[value]} masks" for value in written)
    whole = [mask.file for mask in survey.opened if mask.values == {written[-1]}]
    perhaps = (
        f" {pluralize(len(whole), 'mask contains', 'masks contain')} only this value, which may mean unknown: "
        f"{join_names(whole, 5)}."
        if whole
        else ""
    )
    share = sum(survey.pixels[value] for value in written) / survey.pixels.total()
    return SuggestedClasses(
        {"classes": _build_two_classes(0, written), "ignore_value": None},
        (f"{1 - share:.1%} of the pixels", f"{share:.1%} of the pixels: {counts}"),
        notices=(
            f"The foreground has {len(written)} values, and no mask has two of them: {counts}. All are interpreted as "
            f"one class, mask_value: {written}. If {written[-1]} means unknown instead, write mask_value: "
            f"{written[:-1]} and ignore_value: {written[-1]}.{perhaps}",
            *describe_background(survey, lambda value: value != 0),
        ),
    )


def _suggest_numbered(survey: MaskSurvey) -> SuggestedClasses | None:
    """Suggest the classes background, inside and border if masks number objects."""
    if not are_numbered(survey):
        return None
    most = max(len(values - {0}) for values in survey.values)
    remarks = (f"the masks number up to {most} objects", "objects without their border", "between objects")
    notice = (
        f"The masks have {len(survey.pixels)} values, and nearly every value is one connected region, so they are "
        f"interpreted as numbered objects (instances). If the values are classes instead, list them in data.classes "
        f"and write instances: null."
    )
    return SuggestedClasses(
        {"classes": build_instance_classes(), "ignore_value": None, "instances": {"border": 2}},
        remarks,
        notices=(notice,),
    )


def build_instance_classes() -> list[dict[str, Any]]:
    """Build the classes of masks that number objects."""
    names = ((BACKGROUND, "background"), (INSIDE, "object"), (BORDER, "border"))
    return [
        {
            "name": name,
            "color": OKABE_ITO[place],
            "foreground": name == "object",
            "is_boundary": name == "border",
            "mask_value": value,
        }
        for place, (value, name) in enumerate(names)
    ]
