"""Report ambiguous masks: one notice each, with the setting for the other meaning."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations

from pipeline.init.mask_survey import MIN_CONNECTED, MaskSurvey
from pipeline.init.value_roles import RESERVED, ValueRoles
from pipeline.wording import join_names

_VOIDS = (255, 65_535)  # that are doubted as classes
_VOID_COLOR = 0xE0E0C0  # marks unknown pixels in Pascal VOC's color masks

_MIN_PERHAPS_NUMBERED = 3  # values above 0, for a hint
_MAX_FAMILIES = 4  # sets of values that exclude each other; more are classes, one per image
_MAX_INVERTED, _MIN_SURROUNDED = 0.4, 0.6  # shares of masks: some that are inverted; most of them
_MIN_EDGE_VALUES, _MIN_ON_EDGES, _MAX_EDGE_PIXELS = 4, 0.8, 0.3  # of class masks that were interpolated
_MAX_NEAR = 10  # levels by which two colors of one class may differ in each channel
_NAMED = 5  # files or values in a sentence

IsForeground = Callable[[int], bool]


def describe_background(survey: MaskSurvey, is_foreground: IsForeground) -> list[str]:
    """Doubt which side is the background: it surrounds the objects in most images, and in all masks alike."""
    sides = [
        (mask.file, is_foreground(mask.frame), is_foreground(mask.majority))
        for mask in survey.opened
        if len(set(map(is_foreground, mask.values))) > 1
    ]
    inside = sum(frame for _, frame, _ in sides)
    if inside > _MIN_SURROUNDED * len(sides):
        is_small = sum(majority for *_, majority in sides) > _MIN_SURROUNDED * len(sides)
        return [
            f"The value taken for the background is surrounded by foreground in {inside} of {len(sides)} masks"
            f"{', and is the smaller part of most' if is_small else ''}. If it is the object, exchange the names and "
            f"`foreground` of the classes; if it means unlabeled, make it data.ignore_value instead."
        ]
    is_odd = inside <= len(sides) / 2
    odd = [file for file, frame, majority in sides if frame is majority is is_odd]
    if not 0 < len(odd) <= _MAX_INVERTED * len(sides):
        return []
    return [
        f"{len(odd)} of {len(sides)} masks look inverted: foreground and background have changed places on their frame "
        f"and in most of their pixels: {join_names(odd, _NAMED)}. Compare them with their images; invert these masks "
        f"if they are."
    ]


def describe_roles(survey: MaskSurvey, roles: ValueRoles) -> list[str]:
    """Doubt the roles that were guessed."""
    doubts = []
    if roles.boundary is not None:
        width = survey.geometry.width(roles.boundary)
        doubts.append(
            f"{survey.format_value(roles.boundary)} is taken for the boundary between the other classes (border, "
            f"is_boundary: true): it is {width:.1f} px wide on average, and they hardly touch each other without it. "
            f"If it is a class like the others, write is_boundary: false and foreground: true."
        )
    doubts += describe_values(survey, roles)
    if roles.background is None:
        return [*doubts, _describe_no_background(survey, roles)]
    aside = {roles.background, roles.boundary, *roles.voids}
    return [*doubts, *describe_background(survey, lambda value: value not in aside)]


def _describe_no_background(survey: MaskSurvey, roles: ValueRoles) -> str:
    """Report that all values are classes, 0 like the others, with the settings for its other meanings."""
    found = "No value looks like a background, so all classes are foreground"
    if 0 not in roles.values:
        return f"{found}. If one is the background, write foreground: false for it."
    share, frame, quoted = survey.pixels[0] / survey.pixels.total(), survey.frame_share(0), survey.quote_value(0)
    return (
        f"{found}, including {quoted} ({roles.names[0]}): it is {share:.1%} of the pixels and {frame:.1%} of those on "
        f"the frame. If it is the background, write foreground: false for it; if it means unlabeled, remove the class "
        f"and write ignore_value: {quoted}."
    )


def describe_values(survey: MaskSurvey, roles: ValueRoles) -> list[str]:
    """Doubt that each value is a class of its own, and that the ignored values are none."""
    doubts = _describe_voids(survey, roles)
    if not roles.voids and len(roles.classes) > 1:
        doubts += [
            f"{survey.format_value(value)} is taken for a class: it is in {survey.masks[value]} of {survey.count} "
            f"masks. If it means unknown, remove the class and write ignore_value: {survey.quote_value(value)}."
            for value in ((_VOID_COLOR,) if survey.colors else _VOIDS)
            if value in roles.classes and value != roles.boundary
        ]
    once = [value for value in roles.values if survey.masks[value] == 1]
    if once and survey.count >= 10:
        named = join_names(f"{survey.format_value(value)} ({survey.pixels[value]:,} pixels)" for value in once)
        doubts.append(
            f"In one of {survey.count} masks only: {named}. A rare class, or a mistake in that mask? Of a "
            f"mistake, remove the class; the check then names the mask."
        )
    if families := _find_families(survey, {roles.background, *roles.voids}):
        named = "; ".join(", ".join(map(survey.format_value, sorted(family))) for family in families)
        example = ", ".join(survey.quote_value(min(family)) for family in families[:2])
        doubts.append(
            f"No mask holds values of two of these families: {named}. If they are two ways of writing the same "
            f"classes, merge them, such as mask_value: [{example}]."
        )
    if edges := _describe_edge_values(survey):
        doubts += edges
    elif survey.colors:
        doubts += _describe_near_colors(survey)
    if len(roles.classes) >= _MIN_PERHAPS_NUMBERED and survey.connected_share >= MIN_CONNECTED and not survey.colors:
        doubts.append(
            "Nearly every value is one connected region in its mask, as numbers of objects are. If the values number "
            "objects instead of naming classes, write instances: {border: 2} and its three classes; see "
            "docs/how-to/microscopy.md."
        )
    return doubts


def _describe_voids(survey: MaskSurvey, roles: ValueRoles) -> list[str]:
    """Report the ignored values, with the setting for the case that they are classes."""
    doubts = []
    for void in roles.voids:
        is_class = "If it is a class, list it in data.classes and write ignore_value: null."
        held = f"{survey.masks[void]} of {survey.count} masks."
        if void not in RESERVED:
            share = survey.pixels[void] / survey.pixels.total()
            doubts.append(
                f"{void} is taken for unlabeled pixels (ignore_value: {void}): {share:.1%} of the pixels, in {held} "
                f"{is_class}"
            )
            continue
        alone = [mask.file for mask in survey.opened if mask.values == {0, void}]
        perhaps = f" {len(alone)} of these hold nothing else but 0, perhaps as foreground: {join_names(alone, _NAMED)}."
        doubts.append(
            f"{void} is taken for unknown pixels (ignore_value: {void}): it is in {held}{perhaps if alone else ''} "
            f"{is_class}"
        )
        # Perhaps not unknown, where these masks, and only these, are without one of the classes.
        doubts += [
            f"Every mask holds either {value} or {void}, and none holds both. If {void} is another way of writing that "
            f"class, write mask_value: [{value}, {void}] and ignore_value: null."
            for value in roles.classes
            if all((value in values) is not (void in values and len(values) > 1) for values in survey.values)
        ]
    return doubts


def _describe_near_colors(survey: MaskSurvey) -> list[str]:
    """Doubt that colors which hardly differ, and never occur in one mask, are different classes."""
    near = [
        pair
        for pair in combinations(sorted(survey.pixels), 2)
        if _distance(*pair) <= _MAX_NEAR and not any(set(pair) <= values for values in survey.values)
    ]
    if not near:
        return []
    named = "; ".join(f"#{one:06x} and #{other:06x}" for one, other in near[:_NAMED])
    more = f" and {len(near) - _NAMED} more pairs" if len(near) > _NAMED else ""
    one, other = near[0]
    return [
        f"Hardly different colors, never in one mask: {named}{more}. If they are one class, merge them, such as "
        f"mask_value: [{survey.quote_value(one)}, {survey.quote_value(other)}]."
    ]


def _distance(color: int, other: int) -> int:
    return max(abs((color >> shift & 255) - (other >> shift & 255)) for shift in (0, 8, 16))


def _describe_edge_values(survey: MaskSurvey) -> list[str]:
    """Doubt values that are only on edges between others: interpolation makes them where classes meet."""
    edges = [value for value in sorted(survey.pixels) if survey.ramps[value] >= _MIN_ON_EDGES * survey.pixels[value]]
    share = sum(survey.pixels[value] for value in edges) / survey.pixels.total()
    if len(edges) < max(_MIN_EDGE_VALUES, len(survey.pixels) / 2) or share > _MAX_EDGE_PIXELS:
        return []
    named = ", ".join(map(survey.format_value, edges[:_NAMED]))
    return [
        f"{len(edges)} of {len(survey.pixels)} values are only on edges between others, {share:.1%} of the pixels: "
        f"{named}, ... Interpolation makes such values. If these are not classes, export the masks again, resized by "
        f"nearest neighbor."
    ]


def _find_families(survey: MaskSurvey, shared: set[int | None]) -> list[set[int]]:
    """Find sets of values that never share a mask, `shared` values aside; empty if there is one set or very many."""
    families: list[set[int]] = []
    for values in survey.values:
        found = set(values - shared)
        if found:
            joined = [family for family in families if family & found]
            families = [family for family in families if not family & found] + [found.union(*joined)]
    return sorted(families, key=min) if 1 < len(families) <= _MAX_FAMILIES else []
