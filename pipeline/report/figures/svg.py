"""Matplotlib figures as inline SVG that takes its colours and its type from the page."""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Iterator
from pathlib import Path

import matplotlib
import matplotlib.style
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from pipeline import runs
from pipeline.project import project_folder

STYLE = runs.TEMPLATES / "figures.mplstyle"

# Matplotlib knows no CSS variables: these colours, which no figure uses for itself, are replaced by them afterwards.
INK, QUIET, RULE = "#010101", "#010102", "#010103"
_VARIABLES = {INK: "var(--ink)", QUIET: "var(--quiet)", RULE: "var(--rule)"}


def series(index: int) -> str:
    """The colour that stands for the page's variable `--rate-<index>`."""
    return f"#02{index:04x}"


def itself(colour: str) -> str:
    """A colour (#rrggbb) that stands for no variable: one that would gives way to one that no eye tells from it."""
    return f"#03{colour[3:]}" if re.match(r"#01010[123]|#02", colour) else colour


@contextlib.contextmanager
def styled(root: Path) -> Iterator[None]:
    """Matplotlib's own defaults with the report's style, whatever the user's matplotlibrc says."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.style.use(project_folder(root) / STYLE)
        yield


def extent(axes: Axes) -> Bbox:
    """Where a drawn figure's axes lie: shares of its width and, from below, of its height."""
    return axes.get_position()


def inline(figure: Figure, name: str) -> Markup:
    """A figure as SVG to stand in HTML; `name` keeps its ids apart from those of the page's other figures."""
    FigureCanvasSVG(figure)
    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": name}):
        metadata = dict.fromkeys(("Date", "Creator", "Format", "Type"))  # else the clock and a version stand in it
        figure.savefig(buffer, format="svg", metadata=metadata)
    text = buffer.getvalue()
    text = text[text.index("<svg") :]  # an XML declaration may not stand inside HTML
    text = re.sub(r"<style.*?</style>", "", text, flags=re.DOTALL)  # it would reach every element of the page
    text = re.sub(r' (?:width|height)="[\d.]+pt"', "", text, count=2)  # the page sets the size
    text = re.sub(r"font: (?:[a-z0-9]+ )*([\d.]+)px [^;\"]*", r"font-size: \1px", text)  # and the typeface
    text = re.sub(r"font-family: [^;\"]*;? ?", "", text)
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = re.sub(r'(url\(#|href="#)', rf"\g<1>{name}-", text)
    text = re.sub(r"#01010[123]", lambda match: _VARIABLES[match.group()], text)
    text = re.sub(r"#02([0-9a-f]{4})", lambda match: f"var(--rate-{int(match.group(1), 16)})", text)
    return Markup(text.rstrip() + "\n")  # matplotlib escapes what it writes as text
