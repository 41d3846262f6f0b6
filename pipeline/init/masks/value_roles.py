"""Decide which value of a mask is the background and which is a boundary between classes, and report the choice."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from pipeline.init.masks.survey import MaskSurvey

# A boundary is a thin strip with other values on both sides, and these hardly touch each other.
_MAX_WIDTH, _MIN_WIDTH = 0.08, 3.0  # of the shorter side of the masks; px that count as thin in any mask
_MAX_RELATIVE_WIDTH = 0.5  # of the narrowest other value
_MIN_SIDE = 0.2  # of its contacts, with the second most frequent neighbor
_MAX_DIRECT = 0.05  # of the contacts, those without the boundary
_MIN_PRESENCE = 0.5  # of the masks with several values

# With many classes, a background is most of the pixels, or surrounds the others: it is most of the masks' outermost
# pixels, unlike a sky above all others.
_MIN_CLASSES = 3  # beside it
_MIN_BACKGROUND, _MIN_FRAME = 0.5, 0.5


def find_boundary(seen: MaskSurvey, values: Sequence[int]) -> int | None:
    """Find the value that separates all others; None if there is none.

    Args:
        seen: of the masks.
        values: the values that are not ignored.
    """
    found = [value for value in values if _is_boundary(seen, value, values)]
    return found[0] if len(found) == 1 else None


def _is_boundary(seen: MaskSurvey, value: int, values: Sequence[int]) -> bool:
    others = [other for other in values if other != value]
    geometry = seen.geometry
    contacts = geometry.count_contacts(value)
    sides = sorted((contacts[other] for other in others), reverse=True)
    direct = sum(count for pair, count in geometry.contacts.items() if set(pair) <= set(others))
    separated = [held for held in seen.values if len(held & set(values)) > 1]
    if len(others) < 2 or not contacts.total():
        return False
    width = geometry.width(value)
    return (
        width <= max(_MIN_WIDTH, _MAX_WIDTH * median(geometry.sides))
        and width <= _MAX_RELATIVE_WIDTH * min(map(geometry.width, others))
        and sides[1] >= _MIN_SIDE * sum(sides)
        and direct <= _MAX_DIRECT * (direct + sum(sides))
        and sum(value in held for held in separated) >= _MIN_PRESENCE * len(separated)
    )


def describe_boundary(seen: MaskSurvey, boundary: int, spelled: str) -> str:
    """Report the boundary, with the setting for the case that it is a class."""
    return (
        f"{spelled} is taken for the boundary between the other classes (border, edge: true): it is "
        f"{seen.geometry.width(boundary):.1f} px wide on average, and they hardly touch each other without it. If it "
        f"is a class like the others, write edge: false and foreground: true."
    )


def find_background(seen: MaskSurvey, values: Sequence[int]) -> int | None:
    """Find the value of the background: 0, else the most frequent on the frame; None if many classes have none.

    Args:
        seen: of the masks.
        values: the values that are neither ignored nor a boundary.
    """
    candidate = find_background_candidate(seen, values)
    if len(values) <= _MIN_CLASSES:
        return candidate
    total = sum(seen.pixels[value] for value in values)
    is_most = seen.pixels[candidate] >= _MIN_BACKGROUND * total
    return candidate if is_most or _frame_share(seen, candidate) >= _MIN_FRAME else None


def find_background_candidate(seen: MaskSurvey, values: Sequence[int]) -> int:
    """Find the value that would be the background, if any is."""
    return 0 if 0 in values else max(values, key=lambda value: (seen.frame_pixels[value], seen.pixels[value]))


def describe_no_background(seen: MaskSurvey, candidate: int, name: str, spelled: str) -> str:
    """Report that all values are classes, 0 like the others, with the settings for its other meanings."""
    if candidate != 0:
        return (
            "No value looks like a background, so all classes are foreground. If one is the background, write "
            "foreground: false for it."
        )
    share, frame = seen.pixels[candidate] / seen.pixels.total(), _frame_share(seen, candidate)
    return (
        f"No value looks like a background, so all classes are foreground, including {spelled} ({name}): it is "
        f"{share:.1%} of the pixels and {frame:.1%} of those on the frame. If it is the background, write foreground: "
        f"false for it; if it means unlabeled, remove the class and write ignore: {spelled}."
    )


def _frame_share(seen: MaskSurvey, value: int) -> float:
    return seen.frame_pixels[value] / seen.frame_pixels.total()
