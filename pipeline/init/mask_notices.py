"""Notices about ambiguous masks, each with the setting for the alternative interpretation."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations

from pipeline.init.mask_survey import MIN_CONNECTED, MaskSurvey
from pipeline.init.value_roles import RESERVED, ValueRoles
from pipeline.wording import join_names

_VOIDS = (255, 65_535)  # values that may mean unknown instead of a class
_VOID_COLOR = 0xE0E0C0  # marks unknown pixels in Pascal VOC's color masks

_MIN_PERHAPS_NUMBERED = 3  # with at least this many classes, the values may be numbered objects
_MAX_FAMILIES = 4  # mutually exclusive sets of values; if there are more, each image shows one class
_MAX_INVERTED, _MIN_SURROUNDED = 0.4, 0.6  # maximum share of inverted masks; share that counts as most masks
_MIN_EDGE_VALUES, _MIN_ON_EDGES, _MAX_EDGE_PIXELS = 4, 0.8, 0.3  # of class masks that were interpolated
_MAX_NEAR = 10  # maximum difference per channel between two colors of the same class
_NAMED = 5  # files or values named in a sentence

IsForeground = Callable[[int], bool]


def describe_background(survey: MaskSurvey, is_foreground: IsForeground) -> list[str]:
    """Report doubts about which value is the background. In most images, the background surrounds the objects."""
    sides = [
        (mask.file, is_foreground(mask.frame), is_foreground(mask.majority))
        for mask in survey.opened
        if len(set(map(is_foreground, mask.values))) > 1
    ]
    inside = sum(frame for _, frame, _ in sides)
    if inside > _MIN_SURROUNDED * len(sides):
        is_small = sum(majority for *_, majority in sides) > _MIN_SURROUNDED * len(sides)
        return [
            f"The background value is surrounded by foreground in {inside} of {len(sides)} masks"
            f"{', and covers the smaller part of most masks' if is_small else ''}. If it is the object, swap the "
            f"classes' `name` and `foreground`; if it means unlabeled, write it in data.ignore_value instead."
        ]
    is_odd = inside <= len(sides) / 2
    odd = [file for file, frame, majority in sides if frame is majority is is_odd]
    if not 0 < len(odd) <= _MAX_INVERTED * len(sides):
        return []
    return [
        f"{len(odd)} of {len(sides)} masks look inverted, because foreground and background are swapped at their edges "
        f"and in most of their pixels: {join_names(odd, _NAMED)}. Compare them with their images, and correct the "
        f"inverted ones."
    ]


def describe_roles(survey: MaskSurvey, roles: ValueRoles) -> list[str]:
    """Report doubts about the guessed roles of values."""
    doubts = []
    if roles.boundary is not None:
        width = survey.geometry.width(roles.boundary)
        doubts.append(
            f"{survey.format_value(roles.boundary)} is interpreted as the boundary between the other classes "
            f"(border, is_boundary: true): it is {width:.1f} px wide on average and separates nearly all others. If it "
            f"is a class like the others, write is_boundary: false and foreground: true."
        )
    doubts += describe_values(survey, roles)
    if roles.background is None:
        return [*doubts, _describe_no_background(survey, roles)]
    aside = {roles.background, roles.boundary, *roles.voids}
    if 0 in set(roles.values) - aside:
        doubts.append(_describe_other_background(survey, roles, roles.background))
    return [*doubts, *describe_background(survey, lambda value: value not in aside)]


def _describe_other_background(survey: MaskSurvey, roles: ValueRoles, background: int) -> str:
    """Report that another value than 0 is the background, with the settings for other interpretations of both."""
    found, zero = survey.format_value(background), survey.format_value(0)
    return (
        f"{found} is interpreted as the background, because it is {_describe_shares(survey, background)}. {zero} is "
        f"interpreted as a class ({roles.names[0]}): it is {_describe_shares(survey, 0)}. If {found} is a class like "
        f"the others, write foreground: true for it; if {zero} means unlabeled, remove the class and write "
        f"ignore_value: {survey.quote_value(0)}."
    )


def _describe_shares(survey: MaskSurvey, value: int) -> str:
    share = survey.pixels[value] / survey.pixels.total()
    return f"{share:.1%} of the pixels and {survey.frame_share(value):.1%} of those at the edges of masks"


def _describe_no_background(survey: MaskSurvey, roles: ValueRoles) -> str:
    """Report that no value is the background, with the settings for other interpretations of 0."""
    found = "No value looks like a background, so all classes are foreground"
    if 0 not in roles.values:
        return f"{found}. If one is the background, write foreground: false for it."
    quoted = survey.quote_value(0)
    return (
        f"{found}, including {quoted} ({roles.names[0]}): it is {_describe_shares(survey, 0)}. If it is the "
        f"background, write foreground: false for it; if it means unlabeled, remove the class and write ignore_value: "
        f"{quoted}."
    )


def describe_values(survey: MaskSurvey, roles: ValueRoles) -> list[str]:
    """Report doubts about whether each value is a separate class, and whether ignored values are classes."""
    doubts = _describe_voids(survey, roles)
    if not roles.voids and len(roles.classes) > 1:
        doubts += [
            f"{survey.format_value(value)} is interpreted as a class: it is in {survey.masks[value]} of "
            f"{survey.count} masks. If it means unknown, remove the class and write ignore_value: "
            f"{survey.quote_value(value)}."
            for value in ((_VOID_COLOR,) if survey.colors else _VOIDS)
            if value in roles.classes and value != roles.boundary
        ]
    once = [value for value in roles.values if survey.masks[value] == 1]
    if once and survey.count >= 10:
        named = join_names(f"{survey.format_value(value)} ({survey.pixels[value]:,} pixels)" for value in once)
        doubts.append(
            f"These values occur in only one of {survey.count} masks: {named}. If a value is a mistake in its mask and "
            f"not a rare class, remove the class; `pipeline data check` then names the mask."
        )
    if families := _find_families(survey, {roles.background, *roles.voids}):
        named = "; ".join(", ".join(map(survey.format_value, sorted(family))) for family in families)
        example = ", ".join(survey.quote_value(min(family)) for family in families[:2])
        doubts.append(
            f"No mask contains values from two of these sets: {named}. If they are different values for the same "
            f"classes, merge them, for example as mask_value: [{example}]."
        )
    if edges := _describe_edge_values(survey):
        doubts += edges
    elif survey.colors:
        doubts += _describe_near_colors(survey)
    may_number = not survey.colors and roles.background in (0, None)  # objects are numbered from 1
    if may_number and len(roles.classes) >= _MIN_PERHAPS_NUMBERED and survey.connected_share >= MIN_CONNECTED:
        doubts.append(
            "Nearly every value is one connected region in its mask, as with numbered objects. If the values number "
            "objects and are not classes, write instances: {border: 2} and its three classes; see "
            "docs/how-to/microscopy.md."
        )
    return doubts


def _describe_voids(survey: MaskSurvey, roles: ValueRoles) -> list[str]:
    """Report the ignored values, with the settings to use if they are classes."""
    doubts = []
    for void in roles.voids:
        is_class = "If it is a class, list it in data.classes and write ignore_value: null."
        held = f"{survey.masks[void]} of {survey.count} masks."
        if void not in RESERVED:
            share = survey.pixels[void] / survey.pixels.total()
            doubts.append(
                f"{void} is interpreted as unlabeled (ignore_value: {void}): it is {share:.1%} of the pixels, in "
                f"{held} {is_class}"
            )
            continue
        alone = [mask.file for mask in survey.opened if mask.values == {0, void}]
        named = join_names(alone, _NAMED)
        perhaps = f" {len(alone)} of these contain only {void} and 0, so {void} may be foreground: {named}."
        doubts.append(
            f"{void} is interpreted as unknown (ignore_value: {void}): it is in {held}{perhaps if alone else ''} "
            f"{is_class}"
        )
        # If it is in exactly the masks that do not contain a certain class, it may be that class.
        doubts += [
            f"Every mask contains either {value} or {void}, and none contains both. If {void} is another value of the "
            f"same class, write mask_value: [{value}, {void}] and ignore_value: null."
            for value in roles.classes
            if all((value in values) is not (void in values and len(values) > 1) for values in survey.values)
        ]
    return doubts


def _describe_near_colors(survey: MaskSurvey) -> list[str]:
    """Report colors that hardly differ and never occur in the same mask, because they may be the same class."""
    near = [
        pair
        for pair in combinations(sorted(survey.pixels), 2)
        if _compute_distance(*pair) <= _MAX_NEAR and not any(set(pair) <= values for values in survey.values)
    ]
    if not near:
        return []
    named = "; ".join(f"#{one:06x} and #{other:06x}" for one, other in near[:_NAMED])
    more = f" and {len(near) - _NAMED} more pairs" if len(near) > _NAMED else ""
    one, other = near[0]
    return [
        f"These colors hardly differ and are never in the same mask: {named}{more}. If they are one class, merge them, "
        f"for example as mask_value: [{survey.quote_value(one)}, {survey.quote_value(other)}]."
    ]


def _compute_distance(color: int, other: int) -> int:
    return max(abs((color >> shift & 255) - (other >> shift & 255)) for shift in (0, 8, 16))


def _describe_edge_values(survey: MaskSurvey) -> list[str]:
    """Report values that occur only on edges between others, where interpolation creates them."""
    edges = [value for value in sorted(survey.pixels) if survey.ramps[value] >= _MIN_ON_EDGES * survey.pixels[value]]
    share = sum(survey.pixels[value] for value in edges) / survey.pixels.total()
    if len(edges) < max(_MIN_EDGE_VALUES, len(survey.pixels) / 2) or share > _MAX_EDGE_PIXELS:
        return []
    named = ", ".join(map(survey.format_value, edges[:_NAMED]))
    return [
        f"{len(edges)} of {len(survey.pixels)} values are only on edges between others ({share:.1%} of the pixels), "
        f"perhaps because of interpolation: {named}, ... If these are not classes, export the masks again with "
        f"nearest-neighbor resizing."
    ]


def _find_families(survey: MaskSurvey, shared: set[int | None]) -> list[set[int]]:
    """Find sets of values that never occur in the same mask, not counting `shared` values.

    Return an empty list if there is only one set, or more than `_MAX_FAMILIES`.
    """
    families: list[set[int]] = []
    for values in survey.values:
        found = set(values - shared)
        if found:
            joined = [family for family in families if family & found]
            families = [family for family in families if not family & found] + [found.union(*joined)]
    return sorted(families, key=min) if 1 < len(families) <= _MAX_FAMILIES else []
