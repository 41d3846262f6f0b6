"""Format counts, names, sizes, times, losses and columns for messages and pages, and suggest corrections of names."""

from __future__ import annotations

import difflib
import math
from collections.abc import Collection, Iterable, Sequence

MAX_NAMES = 10  # maximum number of names or lines in a message


def pluralize(count: int, singular: str, plural: str | None = None) -> str:
    """Format a count with its noun in the singular or plural; `plural` defaults to `singular` + s.

    Both may include a verb, as in "run was" and "runs were".
    """
    return f"{count:,} {singular if count == 1 else plural or singular + 's'}"


def capitalize_first(text: str) -> str:
    """Write the first letter in upper case, and leave the others, as in `IoU`, unchanged."""
    return f"{text[:1].upper()}{text[1:]}"


def join_words(words: Sequence[str], limit: int | None = None) -> str:
    """Join words as `a, b and c`, or as `a, b and 3 more` if there are more than `limit`."""
    if limit is not None and len(words) > limit:
        words = [*words[:limit], f"{len(words) - limit:,} more"]
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} and {words[-1]}"


def join_names(names: Iterable[object], most: int = MAX_NAMES) -> str:
    """Join names with commas; if there are more than `most`, list the first ones and count the others.

    Unprintable characters, such as line breaks, are escaped.
    """
    shown = [escape_unprintable(str(name)) for name in names]
    return join_words(shown, most) if len(shown) > most else ", ".join(shown)


def escape_unprintable(name: str) -> str:
    """Escape the unprintable characters of a name, such as line breaks."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape", "surrogatepass").decode() for letter in name
    )


def format_size(size: tuple[int, int]) -> str:
    """Format a height and width in px, with the width first: 640 × 480 px."""
    height, width = size
    return f"{width} × {height} px"


def format_size_setting(size: tuple[int, int]) -> str:
    """Format a height and width in px as a value of `data.image_size`."""
    height, width = size
    return str(height) if height == width else f"[{height}, {width}]"


def shorten(text: str, width: int) -> str:
    """Truncate text that is wider than `width` terminal columns."""
    from rich.cells import cell_len, set_cell_size

    return text if cell_len(text) <= width else f"{set_cell_size(text, max(0, width - 1))}…"


def align_columns(columns: Sequence[Sequence[str]], left: Collection[int] = ()) -> list[str]:
    """Format columns as aligned lines for a terminal; columns in `left` are left-aligned, the others right-aligned."""
    from rich.cells import cell_len

    aligned = []
    for place, column in enumerate(columns):
        width = max(map(cell_len, column))
        padded = ((entry, " " * (width - cell_len(entry))) for entry in column)
        aligned.append([entry + space if place in left else space + entry for entry, space in padded])
    return ["  ".join(line).rstrip() for line in zip(*aligned, strict=True)]


def find_closest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that is closest to a misspelled one, ignoring case; None if none is close."""
    by_lower = {one.lower(): one for one in known}
    near = difflib.get_close_matches(name.lower(), by_lower, n=1)
    return by_lower[near[0]] if near else None


def suggest_closest(name: str, known: Iterable[str], otherwise: str = "") -> str:
    """Return the end of a message about an unknown name: the closest known name, or else `otherwise` or known names."""
    known = sorted(known)
    if near := find_closest(name, known):
        return f"did you mean {near}?"
    return otherwise or f"known names: {join_words(known[:8])}."


def format_megabytes(size: int) -> str:
    """Format a byte count in megabytes, such as 18.8 MB."""
    return f"{size / 1e6:.1f} MB"


def format_duration(seconds: float) -> str:
    """Format a duration with at most two significant digits."""
    for unit, length in (("days", 86_400.0), ("h", 3_600.0)):
        if seconds >= 1.5 * length:
            return f"{float(f'{seconds / length:.2g}'):g} {unit}"
    return f"{float(f'{seconds / 60:.2g}'):.0f} min" if seconds >= 60 else "1 min"


def format_loss(loss: float, level: float) -> str:
    """Format a loss, or a difference between losses, to three digits of losses of this level; at least 3 decimals."""
    return f"{loss:.{count_loss_decimals(level)}f}"


def count_loss_decimals(level: float) -> int:
    """Count the decimals that show three digits of losses of this level; at least 3."""
    return max(3, 2 - math.floor(math.log10(level))) if level > 0 else 3
