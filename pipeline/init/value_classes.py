"""Suggest a class with a name and a color for each mask value."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from pipeline.errors import PipelineError
from pipeline.init.class_labels import suggest_colors
from pipeline.init.mask_notices import describe_roles, describe_values
from pipeline.init.mask_survey import MaskSurvey
from pipeline.init.palettes import Palette, find_palette_by_colors, read_label_file
from pipeline.init.suggestion import SuggestedClasses
from pipeline.init.value_roles import ValueRoles, find_roles
from pipeline.wording import join_names

_NAMED = 8  # classes named in a sentence


def suggest_value_classes(folder: Path, survey: MaskSurvey, *notices: str) -> SuggestedClasses:
    """Suggest a class for each value that is not ignored. A label file in the folder may contain the colors' names.

    Raises:
        PipelineError: The masks contain a single class.
    """
    published = _find_palette(survey, read_label_file(folder))
    roles = find_roles(survey) if published is None else _read_palette(survey, published)
    if len(roles.values) == 1:
        only = survey.format_value(roles.values[0])
        if survey.num_unreadable:
            raise PipelineError(
                f"{folder}: {survey.describe_unreadable()}, and the others contain only the value {only}, so no "
                f"classes can be proposed. Export the masks again, with one value or color per class."
            )
        raise PipelineError(
            f"{folder}: all {survey.count} masks that were opened contain only the value {only}, so there is nothing "
            f"to learn. Export them again. If the mask is in the alpha channel, which is ignored, save that channel as "
            f"a gray image."
        )
    colors = (
        suggest_colors(len(roles.values))
        if published is None
        else [f"#{_get_color(value, survey):06x}" for value in roles.values]
    )
    write = survey.format_value if survey.colors else int
    total = sum(survey.pixels[value] for value in roles.values)
    classes, remarks = [], []
    for value, color in zip(roles.values, colors, strict=True):
        is_foreground = value not in (roles.background, roles.boundary)
        is_boundary = value == roles.boundary
        classes.append(
            {"name": roles.names[value], "color": color, "foreground": is_foreground, "is_boundary": is_boundary}
            | {"mask_value": write(value)}
        )
        masks = f"{survey.masks[value]:{len(str(survey.count))}} of {survey.count} masks that were opened"
        remarks.append(f"{_format_share(survey.pixels[value] / total)} of the pixels, in {masks}")
    doubts = (
        describe_roles(survey, roles)
        if published is None
        else [_describe_palette(survey, published, roles), *describe_values(survey, replace(roles, voids=()))]
    )
    ignored = [write(value) for value in roles.voids]
    held = ", ".join(f"{survey.masks[value]} of {survey.count} masks" for value in roles.voids)
    return SuggestedClasses(
        {"classes": classes, "ignore_value": ignored[0] if len(ignored) == 1 else ignored or None},
        tuple(remarks),
        (*notices, *doubts),
        {"ignore_value": f"interpreted as unknown; in {held}"} if ignored else {},
    )


def _find_palette(survey: MaskSurvey, own: Palette | None) -> Palette | None:
    """Find the published palette that the masks' colors, or those of their palette indices, belong to."""
    if survey.colors:
        return find_palette_by_colors(survey.pixels, own)
    if survey.palette_conflict is not None or not survey.pixels.keys() <= survey.palette.keys():
        return None
    colors = {survey.palette[value] for value in survey.pixels}
    return find_palette_by_colors(colors, own) if len(colors) == len(survey.pixels) else None


def _read_palette(survey: MaskSurvey, published: Palette) -> ValueRoles:
    """Look up the roles and names of values by their colors in a palette."""
    known = {value: published.names.get(_get_color(value, survey)) for value in sorted(survey.pixels)}
    voids = tuple(value for value, name in known.items() if name in published.ignored)
    values = [value for value in known if value not in voids]
    names = {value: known[value] or f"class_{place}" for place, value in enumerate(values)}
    background = next((value for value in values if known[value] and known[value] == published.background), None)
    ordered = sorted(values, key=lambda value: value != background)
    return ValueRoles(voids, ordered, background, None, names)


def _describe_palette(survey: MaskSurvey, published: Palette, roles: ValueRoles) -> str:
    voids = join_names([published.names[_get_color(value, survey)] for value in roles.voids], _NAMED)
    ignored = f"; ignored: {voids}" if voids else ""
    return (
        f"The colors of the masks are those of {published.title}, so the classes have its names: "
        f"{join_names([roles.names[value] for value in roles.values], _NAMED)}{ignored}. If the colors mean something "
        f"else, change data.classes and data.ignore_value."
    )


def _format_share(share: float) -> str:
    """Format a share with five characters, so that the numbers of all classes are aligned."""
    return "<0.1%" if 0 < share < 0.0005 else f"{share:5.1%}"


def _get_color(value: int, survey: MaskSurvey) -> int:
    return value if survey.colors else survey.palette[value]
