"""Types of values in the section `data`."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BeforeValidator, Field

TrainImages = Annotated[int, Field(ge=2)]
ImageSize = Annotated[int, Field(ge=16, le=2048)]

_COLOR = re.compile(r"#[0-9a-fA-F]{6}")
_NAME = re.compile(r"\w[\w -]*")
_QUOTES = ' in quotes, such as "#e69f00" (otherwise it is a comment in YAML)'


def _check_color(value: object) -> object:
    if not isinstance(value, str) or not _COLOR.fullmatch(value):
        raise ValueError(f"must be a color{_QUOTES}")
    return value


def _check_mask_value(value: object) -> object:
    # One error for both types; a union of pydantic would give two.
    whole = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 65_535
    if not whole and not (isinstance(value, str) and _COLOR.fullmatch(value)):
        raise ValueError(f"must be a mask's pixel value, a whole number from 0 to 65535 or a color{_QUOTES}")
    return value


def _check_mask_values(value: object) -> object:
    """Check one value, or a list of values that mean the same."""
    if not isinstance(value, list | tuple):
        return _check_mask_value(value)
    if not value:
        raise ValueError("must be a mask's pixel value, or a list of such values with at least one entry")
    return [_check_mask_value(item) for item in value]


def _check_class_name(value: object) -> object:
    if not isinstance(value, str) or not _NAME.fullmatch(value):  # used in names of columns and metrics
        raise ValueError("must be a name of letters, digits, _, - and spaces")
    return value


Color = Annotated[str, BeforeValidator(_check_color)]
MaskValue = Annotated[int | str, BeforeValidator(_check_mask_value)]  # an int, or #rrggbb
MaskValues = Annotated[int | str | list[int | str], BeforeValidator(_check_mask_values)]  # of one class
ClassName = Annotated[str, BeforeValidator(_check_class_name)]
Share = Annotated[float, Field(ge=0, le=1)]


def positive_range(largest: float) -> BeforeValidator:
    """Validate a range [low, high] above 0 and up to `largest`."""

    def check(value: object) -> object:
        ends = tuple(value) if isinstance(value, list | tuple) else ()
        numbers = len(ends) == 2 and all(type(end) in (int, float) for end in ends)
        if not numbers or not 0 < ends[0] <= ends[1] <= largest:
            raise ValueError(f"must be [low, high], two numbers above 0 and up to {largest:g}, the lower one first")
        return ends

    return BeforeValidator(check)


def list_values(value: int | str | list[int | str] | None) -> tuple[int | str, ...]:
    """List the mask values that a key holds: none, one or several."""
    if value is None:
        return ()
    return tuple(value) if isinstance(value, list) else (value,)
