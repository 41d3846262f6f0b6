"""A colour and a mark for each learning rate: cold for the smallest, hot for the largest."""

from __future__ import annotations

from matplotlib import colormaps
from matplotlib.colors import to_hex

# Plasma's lightness rises evenly, so that the order is seen without hue. Its ends are left out where they would fade
# into the ground: 3 : 1 is the least contrast of a line.
_LIGHT = (0.02, 0.62)
_DARK = (0.46, 0.94)

# Shapes beside the colours: (matplotlib's marker, the same as SVG path in a box from -4 to 4).
_MARKS = (
    ("o", "M-3.4 0a3.4 3.4 0 1 0 6.8 0a3.4 3.4 0 1 0-6.8 0z"),
    ("s", "M-3-3h6v6h-6z"),
    ("^", "M0-3.6L3.8 3H-3.8z"),
    ("D", "M0-4L4 0L0 4L-4 0z"),
    ("v", "M0 3.6L3.8-3H-3.8z"),
    ("P", "M-1.3-3.6h2.6v2.3h2.3v2.6h-2.3v2.3h-2.6v-2.3h-2.3v-2.6h2.3z"),
)


def variables(count: int) -> tuple[str, str]:
    """CSS declarations of `--rate-0` and on, for a light and for a dark ground."""
    return _declarations(count, _LIGHT), _declarations(count, _DARK)


def marker(index: int) -> str:
    """Matplotlib's name of a rate's mark."""
    return _MARKS[index % len(_MARKS)][0]


def marker_path(index: int) -> str:
    """A rate's mark as an SVG path."""
    return _MARKS[index % len(_MARKS)][1]


def _declarations(count: int, span: tuple[float, float]) -> str:
    low, high = span
    colours = [colormaps["plasma"](low + (high - low) * (i / (count - 1) if count > 1 else 0)) for i in range(count)]
    return " ".join(f"--rate-{i}: {to_hex(colour)};" for i, colour in enumerate(colours))
