"""The shares of the classes: a bar a split, a segment a class, in the class's colour and with its number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from pipeline.report.figures import svg

NARROW, WIDE, ROW, MARGIN = 4.8, 6.9, 0.42, 0.55  # inches
FEW = 8  # classes: the bars of more are wide
FITS = 0.14  # inches that a digit of a segment's number takes


def share_bars(shares: Mapping[str, Sequence[float]], colours: Sequence[str], root: Path) -> Markup:
    """Draw the bars from the top on.

    Args:
        shares: by the bar's label, a share of one for each class.
        colours: of the classes, #rrggbb.
        root: the project's folder, or a study's.
    """
    width = NARROW if len(colours) <= FEW else WIDE
    with svg.styled(root):
        figure = Figure((width, MARGIN + ROW * len(shares)), layout="constrained")
        axes = figure.add_subplot()
        axes.grid(visible=False)
        for place, values in enumerate(shares.values()):
            _bar(axes, place, values, colours, 100 * FITS / width)
        axes.set_xlim(0, 100)
        axes.set_xticks([0, 25, 50, 75, 100])
        axes.set_yticks(range(len(shares)), list(shares))
        axes.set_ylim(len(shares) - 0.5, -0.5)  # the first on top
        axes.set_xlabel("per cent of the counted pixels", loc="right")
        return svg.inline(figure, "shares")


def _bar(axes: Axes, place: int, shares: Sequence[float], colours: Sequence[str], digit: float) -> None:
    """Draw a bar; `digit` is the share, in per cent, that a digit of a segment's number takes."""
    left = 0.0
    for number, (share, colour) in enumerate(zip(shares, colours, strict=True), start=1):
        width = 100 * share
        # Framed: a class may have the page's own colour.
        axes.barh(place, width, 0.7, left, color=svg.itself(colour), edgecolor=svg.QUIET, linewidth=0.6)
        if width >= digit * (len(str(number)) + 0.5):
            axes.text(
                left + width / 2, place, str(number), ha="center", va="center_baseline", color=_readable_on(colour)
            )
        left += width


def _readable_on(colour: str) -> str:
    """Black or white, whichever contrasts more, by relative luminance as WCAG defines it."""
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in to_rgb(colour)]
    luminance = sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
    return "#000000" if (luminance + 0.05) ** 2 > 1.05 * 0.05 else "#ffffff"
