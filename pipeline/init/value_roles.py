"""Find the mask values of ignored pixels, the boundary and the background."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from pipeline.init.mask_survey import MaskSurvey

RESERVED = (*range(250, 256), 65_535)  # values that often mean an unknown class

# If a class has a value above `_MAX_BELOW_RESERVED`, a reserved value is one gray level of many, unless most values up
# to the highest class occur and there is a gap below the reserved value.
_MAX_BELOW_RESERVED = 40
_MIN_DENSITY, _MIN_GAP = 0.6, 50

# Pixels without a class are a small part of most masks. They form more pieces than any class, or most classes are in
# fewer than half of the masks.
_MAX_LEFTOVER, _MIN_PRESENCE = 0.1, 0.8  # share of the pixels; share of the masks
_MIN_CLASSES = 8
_MIN_PIECES = 2.0  # relative to the median class
_MIN_TOUCHED = 0.4  # share of the classes of a mask

# A boundary is a thin strip between other values that hardly touch each other.
_MAX_WIDTH, _MIN_WIDTH = 0.08, 3.0  # fraction of the masks' shorter side; width that is thin in any mask, px
_MAX_RELATIVE_WIDTH = 0.5  # of the narrowest other value
_MIN_SIDE = 0.2  # share of its contacts with the second most frequent neighbor
_MAX_DIRECT = 0.05  # share of the contacts without the boundary
_MIN_BOUNDARY_PRESENCE = 0.5  # of the masks with several values

# With many classes, a background covers most pixels or most of the outermost pixels of masks, which a sky does not.
_MIN_BACKGROUND_CLASSES = 3  # with more values, a background must be recognized
_MIN_BACKGROUND, _MIN_FRAME = 0.5, 0.5


@dataclass(frozen=True)
class ValueRoles:
    """Roles of mask values: ignored, background, boundary, or another class."""

    voids: tuple[int, ...]  # values of unknown pixels
    values: list[int]  # of the classes, the background first
    background: int | None
    boundary: int | None
    names: dict[int, str]  # of the classes

    @property
    def classes(self) -> list[int]:
        """Values of all classes except the background."""
        return [value for value in self.values if value != self.background]


def find_roles(survey: MaskSurvey) -> ValueRoles:
    """Guess the roles of the values from their frequencies and the geometry of their regions."""
    voids = () if survey.colors else _find_reserved(survey) or _find_leftover(survey)
    values = sorted(survey.pixels.keys() - set(voids))
    boundary = _find_boundary(survey, values)
    others = [value for value in values if value != boundary]
    background = _find_background(survey, others)
    ordered = sorted(values, key=lambda value: value != background)
    names = {value: f"class_{place if survey.colors else value}" for place, value in enumerate(ordered)}
    if background is not None:
        names[background] = "background"
        if len(others) == 2:
            names[next(value for value in others if value != background)] = "foreground"
    if boundary is not None:
        names[boundary] = "border"
    return ValueRoles(voids, ordered, background, boundary, names)


def _find_reserved(survey: MaskSurvey) -> tuple[int, ...]:
    """Find reserved values, such as 255, that mark unknown pixels rather than a class."""
    reserved = [value for value in RESERVED if value in survey.pixels]
    classes = survey.pixels.keys() - reserved
    if not reserved or len(classes) < 2:
        return ()
    highest = max(classes)
    is_dense = len(classes) >= _MIN_DENSITY * (highest + 1) and min(reserved) - highest >= _MIN_GAP
    if highest > _MAX_BELOW_RESERVED and not is_dense:
        return ()
    return tuple(value for value in reserved if _is_beside_classes(survey, value, {0, *reserved}))


def _is_beside_classes(survey: MaskSurvey, void: int, others: set[int]) -> bool:
    alone = [values for values in survey.values if void in values and not values - others and 0 in values]
    beside = [values for values in survey.values if void in values and values - others]
    foreground = sum(count for value, count in survey.pixels.items() if value not in others)
    return len(alone) <= len(beside) and not (beside and survey.pixels[void] > foreground and 0 in survey.pixels)


def _find_leftover(survey: MaskSurvey) -> tuple[int, ...]:
    """Find the lowest or highest of many values, if it marks pixels without a class in most masks.

    ADE20K and CamVid, for example, use 0 or the highest value for everything that belongs to no class.
    """
    ends = (value for value in (0, max(survey.pixels)) if value in survey.pixels)
    return tuple(value for value in ends if _is_leftover(survey, value))[:1]


def _is_leftover(survey: MaskSurvey, value: int) -> bool:
    classes = survey.pixels.keys() - {value}
    if len(classes) < _MIN_CLASSES or survey.pixels[value] > _MAX_LEFTOVER * survey.pixels.total():
        return False
    if survey.masks[value] < _MIN_PRESENCE * survey.count or survey.geometry.touched_share(value) < _MIN_TOUCHED:
        return False
    pieces = [survey.geometry.regions_per_mask(other) for other in classes]
    own = survey.geometry.regions_per_mask(value)
    if own > max(pieces) and own >= _MIN_PIECES * median(pieces):
        return True
    return value == 0 and median(survey.masks[other] for other in classes) < survey.count / 2


def _find_boundary(survey: MaskSurvey, values: Sequence[int]) -> int | None:
    """Find the value that marks the boundaries between all other classes. Return None if there is none."""
    found = [value for value in values if _is_boundary(survey, value, values)]
    return found[0] if len(found) == 1 else None


def _is_boundary(survey: MaskSurvey, value: int, values: Sequence[int]) -> bool:
    others = [other for other in values if other != value]
    geometry = survey.geometry
    contacts = geometry.count_contacts(value)
    sides = sorted((contacts[other] for other in others), reverse=True)
    direct = sum(count for pair, count in geometry.contacts.items() if set(pair) <= set(others))
    separated = [held for held in survey.values if len(held & set(values)) > 1]
    if len(others) < 2 or not contacts.total():
        return False
    width = geometry.width(value)
    return (
        width <= max(_MIN_WIDTH, _MAX_WIDTH * median(geometry.sides))
        and width <= _MAX_RELATIVE_WIDTH * min(map(geometry.width, others))
        and sides[1] >= _MIN_SIDE * sum(sides)
        and direct <= _MAX_DIRECT * (direct + sum(sides))
        and sum(value in held for held in separated) >= _MIN_BOUNDARY_PRESENCE * len(separated)
    )


def _find_background(survey: MaskSurvey, values: Sequence[int]) -> int | None:
    """Find the background value: 0 or, if it is not the background, the most frequent value at the edges of masks.

    Args:
        survey: Statistics of the masks.
        values: Values that are neither ignored nor a boundary.

    Returns:
        The value; None if there are many classes and none of them looks like a background.
    """
    most_on_frame = max(values, key=lambda value: (survey.frame_pixels[value], survey.pixels[value]))
    candidates = [0, most_on_frame] if 0 in values else [most_on_frame]
    if len(values) <= _MIN_BACKGROUND_CLASSES:
        return candidates[0]
    least = _MIN_BACKGROUND * sum(survey.pixels[value] for value in values)
    return next(
        (value for value in candidates if survey.pixels[value] >= least or survey.frame_share(value) >= _MIN_FRAME),
        None,
    )
