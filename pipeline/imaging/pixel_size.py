"""Sizes of pixels in units of length."""

from __future__ import annotations

import math
from dataclasses import dataclass

UNITS_PER_CENTIMETER = {
    "Å": 1e8, "nm": 1e7, "micron": 1e4, "microns": 1e4, "um": 1e4, "µm": 1e4, "μm": 1e4, "\\u00B5m": 1e4, "mm": 10.0,
    "cm": 1.0, "m": 0.01, "km": 1e-5, "inch": 1 / 2.54, "in": 1 / 2.54,
}  # fmt: skip
_TOLERANCE = 0.01  # relative difference of sizes that count as equal; files store rounded numbers


@dataclass(frozen=True)
class PixelSize:
    """Height and width of a pixel."""

    height: float
    width: float
    unit: str

    @property
    def area(self) -> float:
        """Area of a pixel in square units."""
        return self.height * self.width

    def describe(self) -> str:
        """Format the size, such as `0.65 µm`, or `0.65 × 0.5 µm (width × height)` if the pixel is not square."""
        if self.height == self.width:
            return f"{self.width:g} {self.unit}"
        return f"{self.width:g} × {self.height:g} {self.unit} (width × height)"

    def contradicts(self, other: PixelSize) -> bool:
        """Return whether two sizes differ. Sizes in unknown units cannot be compared, and do not contradict."""
        if self.unit == other.unit:
            factor = 1.0
        elif self.unit in UNITS_PER_CENTIMETER and other.unit in UNITS_PER_CENTIMETER:
            factor = UNITS_PER_CENTIMETER[self.unit] / UNITS_PER_CENTIMETER[other.unit]
        else:
            return False
        pairs = ((self.height, other.height), (self.width, other.width))
        return not all(math.isclose(own, factor * theirs, rel_tol=_TOLERANCE) for own, theirs in pairs)
