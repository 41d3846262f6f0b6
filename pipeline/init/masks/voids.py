"""Find the values of masks that mark pixels of unknown class, and report them."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from pipeline.init.masks.survey import MaskSurvey
from pipeline.prepare.names import listed

RESERVED = (*range(250, 256), 65_535)  # often written where the class is unknown

_MAX_BELOW_RESERVED = 40  # highest class beside a reserved value; above, it is one gray level of many,
_MIN_DENSITY, _MIN_GAP = 0.6, 50  # unless most values up to the highest occur, and none for so many below it

# What the classes leave over is a small part of most masks,
_MAX_LEFTOVER, _MIN_PRESENCE = 0.1, 0.8
_MIN_CLASSES = 8
# in more pieces than any class has, or while most classes are in less than half of the masks.
_MIN_PIECES = 2.0  # times the median class
_MIN_TOUCHED = 0.4  # of the classes of a mask

_NAMED = 5  # files in a sentence


def find_voids(seen: MaskSurvey) -> tuple[int, ...]:
    """Find the values that plausibly mark unknown pixels."""
    if seen.colors:
        return ()
    return find_reserved(seen) or find_leftover(seen)


def find_reserved(seen: MaskSurvey) -> tuple[int, ...]:
    """Find values such as 255 that occur beside few or numbered classes, and are not most of the foreground."""
    reserved = [value for value in RESERVED if value in seen.pixels]
    classes = seen.pixels.keys() - reserved
    if not reserved or len(classes) < 2:
        return ()
    highest = max(classes)
    is_dense = len(classes) >= _MIN_DENSITY * (highest + 1) and min(reserved) - highest >= _MIN_GAP
    if highest > _MAX_BELOW_RESERVED and not is_dense:
        return ()
    return tuple(value for value in reserved if _is_beside_classes(seen, value, {0, *reserved}))


def _is_beside_classes(seen: MaskSurvey, void: int, others: set[int]) -> bool:
    alone = [values for values in seen.values if void in values and not values - others and 0 in values]
    beside = [values for values in seen.values if void in values and values - others]
    foreground = sum(count for value, count in seen.pixels.items() if value not in others)
    return len(alone) <= len(beside) and not (beside and seen.pixels[void] > foreground and 0 in seen.pixels)


def find_leftover(seen: MaskSurvey) -> tuple[int, ...]:
    """Find the first or the last of many values, if it is what the classes leave over in most masks.

    ADE20K and CamVid have such values: 0 or the last one, for all that belongs to no class.
    """
    return tuple(value for value in (0, max(seen.pixels)) if value in seen.pixels and _is_leftover(seen, value))[:1]


def _is_leftover(seen: MaskSurvey, value: int) -> bool:
    classes = seen.pixels.keys() - {value}
    if len(classes) < _MIN_CLASSES or seen.pixels[value] > _MAX_LEFTOVER * seen.pixels.total():
        return False
    if seen.masks[value] < _MIN_PRESENCE * seen.count or seen.geometry.touched_share(value) < _MIN_TOUCHED:
        return False
    pieces = [seen.geometry.regions_per_mask(other) for other in classes]
    own = seen.geometry.regions_per_mask(value)
    if own > max(pieces) and own >= _MIN_PIECES * median(pieces):
        return True
    return value == 0 and median(seen.masks[other] for other in classes) < seen.count / 2


def describe_voids(seen: MaskSurvey, voids: Sequence[int], classes: Sequence[int]) -> list[str]:
    """Report the ignored values, with the setting for the case that they are classes.

    Args:
        seen: of the masks.
        voids: the ignored values.
        classes: the values of all classes but the background.
    """
    doubts = []
    for void in voids:
        if void not in RESERVED:
            share = seen.pixels[void] / seen.pixels.total()
            doubts.append(
                f"{void} is taken for unlabeled pixels (ignore: {void}): {share:.1%} of the pixels, in "
                f"{seen.masks[void]} of {seen.count} masks. If it is a class, list it in data.classes and write "
                f"ignore: null."
            )
            continue
        alone = [file for file, values in zip(seen.files, seen.values, strict=True) if values == {0, void}]
        perhaps = f" {len(alone)} of these hold nothing else but 0, perhaps as foreground: {listed(alone, _NAMED)}."
        doubts.append(
            f"{void} is taken for unknown pixels (ignore: {void}): it is in {seen.masks[void]} of {seen.count} masks."
            f"{perhaps if alone else ''} If it is a class, list it in data.classes and write ignore: null."
        )
        doubts += _describe_exclusive(seen, void, classes)
    return doubts


def _describe_exclusive(seen: MaskSurvey, void: int, classes: Sequence[int]) -> list[str]:
    """Doubt that pixels are unknown where these masks, and only these, are without one of the classes."""
    return [
        f"Every mask holds either {value} or {void}, and none holds both. If {void} is another way of writing that "
        f"class, write value: [{value}, {void}] and ignore: null."
        for value in classes
        if all((value in values) is not (void in values and len(values) > 1) for values in seen.values)
    ]
