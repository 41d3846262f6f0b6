"""Matplotlib figures as inline SVG with the page's colors and fonts, and the colors of learning rates."""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Iterator

import matplotlib
import matplotlib.style
from markupsafe import Markup
from matplotlib import colormaps
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from pipeline.artifacts.project import TEMPLATES, Project
from pipeline.errors import PipelineError

STYLE = TEMPLATES / "figures.mplstyle"

# Placeholder colors that are replaced by CSS variables in the SVG, because matplotlib does not support CSS variables.
INK, QUIET, RULE = "#010101", "#010102", "#010103"
_VARIABLES = {INK: "var(--ink)", QUIET: "var(--quiet)", RULE: "var(--rule)"}


def get_series_color(index: int) -> str:
    """Return the placeholder color of the page's variable `--rate-<index>`."""
    return f"#02{index:04x}"


def escape_color(color: str) -> str:
    """Return a color (#rrggbb), changed imperceptibly if it equals a placeholder color."""
    return f"#03{color[3:]}" if re.match(r"#01010[123]|#02", color) else color


@contextlib.contextmanager
def use_style(project: Project) -> Iterator[None]:
    """Use matplotlib's defaults with the report's style, regardless of the user's matplotlibrc.

    Raises:
        PipelineError: The style is missing.
    """
    style = project.home / STYLE
    if not style.is_file():
        raise PipelineError(
            f"{STYLE} is missing. Run the command in the folder of a project, or restore the file: git checkout {STYLE}"
        )
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.style.use(style)
        yield


def render_svg(figure: Figure, name: str) -> Markup:
    """Render a figure as SVG for HTML; `name` makes its ids unique on the page."""
    canvas = FigureCanvasSVG(figure)
    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": name}):
        metadata = dict.fromkeys(("Date", "Creator", "Format", "Type"))  # None omits the time and the version
        # Not `savefig`, which would compute the layout twice.
        canvas.print_svg(buffer, metadata=metadata)  # type: ignore[no-untyped-call]
    text = buffer.getvalue()
    text = text[text.index("<svg") :]  # HTML allows no XML declaration
    text = re.sub(r"<style.*?</style>", "", text, flags=re.DOTALL)  # a style would apply to the whole page
    text = re.sub(r' (?:width|height)="[\d.]+pt"', "", text, count=2)  # the page sets the size
    text = re.sub(r"font: (?:[a-z0-9]+ )*([\d.]+)px [^;\"]*", r"font-size: \1px", text)  # the page sets the font
    text = re.sub(r"font-family: [^;\"]*;? ?", "", text)
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = re.sub(r'(url\(#|href="#)', rf"\g<1>{name}-", text)
    text = re.sub(r"#01010[123]", lambda match: _VARIABLES[match.group()], text)
    text = re.sub(r"#02([0-9a-f]{4})", lambda match: f"var(--rate-{int(match.group(1), 16)})", text)
    return Markup(text.rstrip() + "\n")  # safe, because matplotlib escapes text


# Ranges of the colormap plasma in light and dark mode. Its lightness increases evenly, so the order of the colors is
# visible without hue. Every color has a contrast ratio of at least 3:1 with the background.
_LIGHT = (0.02, 0.62)
_DARK = (0.46, 0.94)

_MARKS = (
    ("o", "M-3.4 0a3.4 3.4 0 1 0 6.8 0a3.4 3.4 0 1 0-6.8 0z"),
    ("s", "M-3-3h6v6h-6z"),
    ("^", "M0-3.6L3.8 3H-3.8z"),
    ("D", "M0-4L4 0L0 4L-4 0z"),
    ("v", "M0 3.6L3.8-3H-3.8z"),
    ("P", "M-1.3-3.6h2.6v2.3h2.3v2.6h-2.3v2.3h-2.6v-2.3h-2.3v-2.6h2.3z"),
)


def write_css_variables(count: int) -> tuple[str, str]:
    """Write the CSS declarations of `count` colors, `--rate-0` and so on, for light mode and for dark mode."""
    modes = []
    for low, high in (_LIGHT, _DARK):
        colors = [colormaps["plasma"](low + (high - low) * (i / (count - 1) if count > 1 else 0)) for i in range(count)]
        modes.append(" ".join(f"--rate-{i}: {to_hex(color)};" for i, color in enumerate(colors)))
    return modes[0], modes[1]


def get_marker(index: int) -> tuple[str, str]:
    """Return a learning rate's marker: matplotlib's name, and an SVG path in a box from -4 to 4."""
    return _MARKS[index % len(_MARKS)]
