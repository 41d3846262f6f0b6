"""Types of the values in the `data` section."""

from __future__ import annotations

import math
import re
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

TrainImages = Annotated[int, Field(ge=2)]

MIN_SIZE, MAX_SIZE = 16, 2048  # limits of a prepared image's side, px
NATIVE = "native"  # an image_size: images are not resized

_UNIT = re.compile(r"[^\W\d_]{1,12}")  # in names of columns
_PIXEL_UNITS = ("px", "pixel", "pixels")
_COLOR = re.compile(r"#[0-9a-fA-F]{6}")
_NAME = re.compile(r"\w[\w -]*")
_QUOTES = ' in quotes, such as "#e69f00" (otherwise it is a comment in YAML)'


def _check_image_size(value: object) -> object:
    # Checked before pydantic's union, which would report one error per type.
    sides = tuple(value) if isinstance(value, list | tuple) else (value, value)
    if len(sides) != 2 or not all(type(side) is int and MIN_SIZE <= side <= MAX_SIZE for side in sides):
        raise ValueError(
            f"must be a whole number of pixels from {MIN_SIZE} to {MAX_SIZE}, or [height, width] in this range"
        )
    return value


def _check_prepared_size(value: object) -> object:
    if value == NATIVE:
        return value
    try:
        return _check_image_size(value)
    except ValueError as error:
        raise ValueError(f"{error}, or {NATIVE}") from None


def _check_pixel_size(value: object) -> object:
    # Checked before pydantic's union, which would report one error per type.
    sides = tuple(value) if isinstance(value, list | tuple) else (value, value)
    if len(sides) != 2 or not all(type(side) in (int, float) and 0 < side < math.inf for side in sides):
        raise ValueError("must be a number above 0, or [height, width], two such numbers")
    return value


def _check_pixel_unit(value: object) -> object:
    if not isinstance(value, str) or not _UNIT.fullmatch(value):
        raise ValueError("must be a unit of length in up to 12 letters, such as µm, mm or m")
    if value.lower() in _PIXEL_UNITS:
        raise ValueError("must be a unit of length, such as µm, mm or m; without a pixel_size, distances are in px")
    return value


def _check_window(value: object) -> object:
    # Checked before pydantic, which would report one error per limit.
    limits = tuple(value) if isinstance(value, list | tuple) else ()
    is_valid = len(limits) == 2 and all(type(limit) in (int, float) and math.isfinite(limit) for limit in limits)
    if not is_valid or limits[0] >= limits[1]:
        raise ValueError("must be [low, high], two numbers, the smaller one first, such as [-160, 240]")
    return limits


def _check_band(value: object) -> object:
    # Checked before pydantic's union, which would report one error per type.
    if not (type(value) is int and 1 <= value <= 65_535) and not (isinstance(value, str) and value):
        raise ValueError("must be the number of a band, from 1, or its name in quotes")
    return value


def _check_color(value: object) -> object:
    if not isinstance(value, str) or not _COLOR.fullmatch(value):
        raise ValueError(f"must be a color{_QUOTES}")
    return value


def _check_mask_value(value: object) -> object:
    # Checked before pydantic's union, which would report one error per type.
    whole = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 65_535
    if not whole and not (isinstance(value, str) and _COLOR.fullmatch(value)):
        raise ValueError(f"must be a mask's pixel value, a whole number from 0 to 65535 or a color{_QUOTES}")
    return value


def _check_mask_values(value: object) -> object:
    """Check one mask value, or a list of mask values with the same meaning."""
    if not isinstance(value, list | tuple):
        return _check_mask_value(value)
    if not value:
        raise ValueError("must be a mask's pixel value, or a list of such values with at least one entry")
    return [_check_mask_value(item) for item in value]


def _check_class_values(value: object) -> object:
    """Check mask values as `_check_mask_values` does, but accept null and texts, which `find_data_mistakes` checks."""
    values = value if isinstance(value, list | tuple) and value else [value]
    if value is None or all(isinstance(item, str) and item and not item.startswith("#") for item in values):
        return value
    if any(isinstance(item, str) and not item.startswith("#") for item in values):
        raise ValueError("must be mask values, or texts that {class} in data.masks matches, but not both")
    return _check_mask_values(value)


def _check_class_name(value: object) -> object:
    if not isinstance(value, str) or not _NAME.fullmatch(value):  # used in names of columns and metrics
        raise ValueError("must be a name made up of letters, digits, _, - and spaces")
    return value


_Side = Annotated[int, Field(ge=MIN_SIZE, le=MAX_SIZE)]
_Sides = _Side | Annotated[list[_Side], Field(min_length=2, max_length=2)]
ImageSize = Annotated[_Sides, BeforeValidator(_check_image_size)]
PreparedSize = Annotated[_Sides | Literal["native"], BeforeValidator(_check_prepared_size)]
Window = Annotated[tuple[float, float], BeforeValidator(_check_window)]
Band = Annotated[int | str, BeforeValidator(_check_band)]  # number from 1, or name
PixelSides = Annotated[float | list[float], BeforeValidator(_check_pixel_size)]  # in the unit of data.pixel_unit
PixelUnit = Annotated[str, BeforeValidator(_check_pixel_unit)]
Color = Annotated[str, BeforeValidator(_check_color)]
MaskValue = Annotated[int | str, BeforeValidator(_check_mask_value)]  # an int, or #rrggbb
MaskValues = Annotated[int | str | list[int | str], BeforeValidator(_check_mask_values)]  # one or more of a class
# Mask values, or texts that {class} in the pattern of the masks matches; null for pixels that no file marks.
ClassValues = Annotated[int | str | list[int | str] | None, BeforeValidator(_check_class_values)]
ClassName = Annotated[str, BeforeValidator(_check_class_name)]
Share = Annotated[float, Field(ge=0, le=1)]


def list_sides(size: int | list[int]) -> tuple[int, int]:
    """Return the height and width, in px, of an `ImageSize`."""
    height, width = size if isinstance(size, list) else (size, size)
    return height, width


def positive_range(largest: float) -> BeforeValidator:
    """Create a validator for ranges [low, high] with 0 < low <= high <= `largest`."""

    def check(value: object) -> object:
        ends = tuple(value) if isinstance(value, list | tuple) else ()
        numbers = len(ends) == 2 and all(type(end) in (int, float) for end in ends)
        if not numbers or not 0 < ends[0] <= ends[1] <= largest:
            raise ValueError(f"must be [low, high], two numbers above 0 and up to {largest:g}, the lower one first")
        return ends

    return BeforeValidator(check)


def list_values(value: int | str | list[int | str] | None) -> tuple[int | str, ...]:
    """Return the mask values of a key as a tuple, which is empty for null."""
    if value is None:
        return ()
    return tuple(value) if isinstance(value, list) else (value,)
