"""What is proposed for a folder: the section, and a remark beside whatever was guessed."""

from __future__ import annotations

import colorsys
from dataclasses import dataclass, field
from typing import Any

# Okabe and Ito's, which differ for colour-blind readers too; the first one is for what the pictures are not of.
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#f0e442", "#56b4e9", "#d55e00")

_GOLDEN, _OFFSET = 0.618034, 0.35  # turns, from hue to hue and from shade to shade
_SHADES = ((1.0, 0.45), (0.35, 1.0), (1.0, 0.9), (0.5, 0.7))  # saturation and value


@dataclass(frozen=True)
class Proposal:
    """The section `data`, and what a person should know to mend it."""

    section: dict[str, Any]  # as `params.yaml` would hold it
    found: str  # what the folder holds, in a few words
    images: int
    training: int = 0  # images that are trained on, if the section is taken as it is
    remarks: dict[str, str] = field(default_factory=dict)  # of keys of the section
    class_remarks: tuple[str, ...] = ()  # of the classes, in their order
    groups: str = ""  # a regular expression that may tell groups apart; empty where names show none
    channels: int = 3  # of the prepared images
    notices: tuple[str, ...] = ()  # sentences on what may be a mistake in the data, printed by `init`


def colour(index: int) -> str:
    """Return a class's color; those after `COLOURS` are shades of hues at golden-ratio steps."""
    if index < len(COLOURS):
        return COLOURS[index]
    turn, shade = divmod(index - len(COLOURS), len(_SHADES))
    saturation, value = _SHADES[shade]
    red, green, blue = (
        round(255 * part) for part in colorsys.hsv_to_rgb((turn * _GOLDEN + shade * _OFFSET) % 1, saturation, value)
    )
    return f"#{red:02x}{green:02x}{blue:02x}"
