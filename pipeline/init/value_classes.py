"""Propose a class for each value of masks: its name, its color, and whether it is ignored, background or boundary."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.errors import PipelineError
from pipeline.init.class_labels import suggest_colors
from pipeline.init.mask_notices import describe_background, describe_values
from pipeline.init.mask_survey import MaskSurvey
from pipeline.init.palettes import Palette, find_palette_by_colors, read_label_file
from pipeline.init.suggestion import SuggestedClasses
from pipeline.init.value_roles import (
    describe_boundary,
    describe_no_background,
    find_background,
    find_background_candidate,
    find_boundary,
    find_voids,
)
from pipeline.prepare.sample_ids import join_names

_NAMED = 8  # classes in a sentence


@dataclass(frozen=True)
class _Roles:
    """What the values are: ignored, background, boundary, or classes with names."""

    voids: tuple[int, ...]
    values: list[int]  # of the classes, in their order
    background: int | None
    boundary: int | None
    names: dict[int, str]


def suggest_value_classes(folder: Path, seen: MaskSurvey, *notices: str) -> SuggestedClasses:
    """Propose a class for each value that is not ignored.

    Args:
        folder: of the data set, which may hold a file with the names of colors.
        seen: of its masks.
        notices: that come first.

    Raises:
        PipelineError: The masks hold one class.
    """
    published = _find_palette(seen, read_label_file(folder))
    roles = _find_roles(seen) if published is None else _read_palette(seen, published)
    if len(roles.values) == 1:
        raise PipelineError(
            f"all {seen.count} masks that were opened hold nothing but the value "
            f"{_format_value(roles.values[0], seen)}: there is nothing to learn. Export them again; where the mask is "
            f"in the alpha channel, which is ignored, save that channel as gray."
        )
    colors = _choose_colors(seen, roles, published)
    total = sum(seen.pixels[value] for value in roles.values)
    classes, remarks = [], []
    for value, color in zip(roles.values, colors, strict=True):
        is_foreground = value not in (roles.background, roles.boundary)
        edge = {"edge": True} if value == roles.boundary else {}
        classes.append(
            {"name": roles.names[value], "colour": color, "foreground": is_foreground, **edge}
            | {"value": _format_value(value, seen)}
        )
        masks = f"{seen.masks[value]:{len(str(seen.count))}} of {seen.count} masks that were opened"
        remarks.append(f"{_format_share(seen.pixels[value] / total)} of the pixels, in {masks}")
    ignored = [_format_value(value, seen) for value in roles.voids]
    held = ", ".join(f"{seen.masks[value]} of {seen.count} masks" for value in roles.voids)
    return SuggestedClasses(
        {"classes": classes, "ignore": ignored[0] if len(ignored) == 1 else ignored or None},
        tuple(remarks),
        f"taken for pixels whose class is unknown; in {held}" if ignored else "",
        (*notices, *_describe(seen, roles, published)),
    )


def _find_roles(seen: MaskSurvey) -> _Roles:
    voids = find_voids(seen)
    values = sorted(seen.pixels.keys() - set(voids))
    boundary = find_boundary(seen, values)
    others = [value for value in values if value != boundary]
    background = find_background(seen, others)
    ordered = values if background is None else [background, *(value for value in values if value != background)]
    names = {value: f"class_{place if seen.colors else value}" for place, value in enumerate(ordered)}
    if background is not None:
        names[background] = "background"
        if len(others) == 2:
            names[next(value for value in others if value != background)] = "foreground"
    if boundary is not None:
        names[boundary] = "border"
    return _Roles(voids, ordered, background, boundary, names)


def _find_palette(seen: MaskSurvey, own: Palette | None) -> Palette | None:
    """Find the palette that the masks are colored by: color masks, or indices with a palette."""
    if seen.colors:
        return find_palette_by_colors(seen.pixels, own)
    if seen.palette_conflict is not None or not seen.pixels.keys() <= seen.palette.keys():
        return None
    colors = {seen.palette[value] for value in seen.pixels}
    return find_palette_by_colors(colors, own) if len(colors) == len(seen.pixels) else None


def _read_palette(seen: MaskSurvey, published: Palette) -> _Roles:
    """Name the classes by their colors."""
    known = {value: published.names.get(_color(value, seen)) for value in sorted(seen.pixels)}
    voids = tuple(value for value, name in known.items() if name in published.ignored)
    values = [value for value in known if value not in voids]
    names = {value: known[value] or f"class_{place}" for place, value in enumerate(values)}
    background = next((value for value in values if known[value] and known[value] == published.background), None)
    ordered = values if background is None else [background, *(value for value in values if value != background)]
    return _Roles(voids, ordered, background, None, names)


def _choose_colors(seen: MaskSurvey, roles: _Roles, published: Palette | None) -> list[str]:
    if published is None:
        return suggest_colors(len(roles.values))
    return [f"#{_color(value, seen):06x}" for value in roles.values]


def _describe(seen: MaskSurvey, roles: _Roles, published: Palette | None) -> list[str]:
    classes = [value for value in roles.values if value != roles.background]
    if published is not None:
        return [_describe_palette(seen, published, roles), *describe_values(seen, (), roles.background, classes, None)]
    doubts = []
    if roles.boundary is not None:
        doubts.append(describe_boundary(seen, roles.boundary, str(_format_value(roles.boundary, seen))))
    doubts += describe_values(seen, roles.voids, roles.background, classes, roles.boundary)
    if roles.background is None:
        candidate = find_background_candidate(seen, classes)
        doubts.append(describe_no_background(seen, candidate, roles.names[candidate], _quote_value(candidate, seen)))
    else:
        aside = {roles.background, roles.boundary, *roles.voids}
        doubts += describe_background(seen, lambda value: value not in aside)
    return doubts


def _describe_palette(seen: MaskSurvey, published: Palette, roles: _Roles) -> str:
    voids = join_names([published.names[_color(value, seen)] for value in roles.voids], _NAMED)
    ignored = f"; ignored: {voids}" if voids else ""
    return (
        f"The colors of the masks are those of {published.title}, so the classes have its names: "
        f"{join_names([roles.names[value] for value in roles.values], _NAMED)}{ignored}. If the colors mean something "
        f"else, change data.classes and data.ignore."
    )


def _format_share(share: float) -> str:
    """Write a share in five characters, so that the numbers of all classes are in columns."""
    return "<0.1%" if 0 < share < 0.0005 else f"{share:5.1%}"


def _color(value: int, seen: MaskSurvey) -> int:
    return value if seen.colors else seen.palette[value]


def _format_value(value: int, seen: MaskSurvey) -> Any:
    return f"#{value:06x}" if seen.colors else value


def _quote_value(value: int, seen: MaskSurvey) -> str:
    return f'"#{value:06x}"' if seen.colors else str(value)
