"""Bars with the shares of the classes in each split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from pipeline.artifacts.project import Project
from pipeline.report.figures import svg

NARROW, WIDE, ROW, MARGIN = 4.8, 6.9, 0.42, 0.55  # inches
MAX_NARROW_CLASSES = 8  # bars of more classes are wide
DIGIT = 0.14  # inches, width of one digit in a segment's number


def draw_class_shares(shares: Mapping[str, Sequence[float]], colors: Sequence[str], project: Project) -> Markup:
    """Draw one bar per split, with a numbered segment per class in the color (#rrggbb) of the class."""
    width = NARROW if len(colors) <= MAX_NARROW_CLASSES else WIDE
    with svg.use_style(project):
        figure = Figure((width, MARGIN + ROW * len(shares)), layout="constrained")
        axes = figure.add_subplot()
        axes.grid(visible=False)
        for place, values in enumerate(shares.values()):
            _draw_bar(axes, place, values, colors, 100 * DIGIT / width)
        axes.set_xlim(0, 100)
        axes.set_xticks([0, 25, 50, 75, 100])
        axes.set_yticks(range(len(shares)), list(shares))
        axes.set_ylim(len(shares) - 0.5, -0.5)  # the first split is on top
        axes.set_xlabel("percent of the evaluated pixels", loc="right")
        return svg.render_svg(figure, "shares")


def _draw_bar(axes: Axes, place: int, shares: Sequence[float], colors: Sequence[str], digit: float) -> None:
    """Draw a bar; `digit` is the width of one digit in a segment's number, in percent."""
    left = 0.0
    for number, (share, color) in enumerate(zip(shares, colors, strict=True), start=1):
        width = 100 * share
        # The edge keeps a segment visible if its class has the page's background color.
        axes.barh(place, width, 0.7, left, color=svg.escape_color(color), edgecolor=svg.QUIET, linewidth=0.6)
        if width >= digit * (len(str(number)) + 0.5):
            axes.text(
                left + width / 2, place, str(number), ha="center", va="center_baseline", color=_choose_text_color(color)
            )
        left += width


def _choose_text_color(color: str) -> str:
    """Return black or white, whichever has more contrast by WCAG's relative luminance."""
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in to_rgb(color)]
    luminance = sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
    return "#000000" if (luminance + 0.05) ** 2 > 1.05 * 0.05 else "#ffffff"
