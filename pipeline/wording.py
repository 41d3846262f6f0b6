"""Wording of messages and pages: counts with their nouns, lists of names, columns, and the closest known name."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Sequence

MAX_NAMES = 10  # names or lines in a message


def pluralize(count: int, singular: str, plural: str | None = None) -> str:
    """Write a count with the noun, and perhaps the verb, that agrees with it; the plural is `singular` + s if None."""
    return f"{count:,} {singular if count == 1 else plural or singular + 's'}"


def join_words(words: Sequence[str], limit: int | None = None) -> str:
    """Join words: a, b and c; or, if there are more than `limit`: a, b and 3 more."""
    if limit is not None and len(words) > limit:
        words = [*words[:limit], f"{len(words) - limit:,} more"]
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} and {words[-1]}"


def join_names(names: Iterable[object], most: int = MAX_NAMES) -> str:
    """Join names of files or values, each on one line: a, b, c; or the first ones, and the number of the others."""
    shown = [escape_unprintable(str(name)) for name in names]
    return join_words(shown, most) if len(shown) > most else ", ".join(shown)


def escape_unprintable(name: str) -> str:
    """Escape the unprintable characters of a name, so that it is one line."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape", "surrogatepass").decode() for letter in name
    )


def format_size(size: tuple[int, int]) -> str:
    """Write a height and width in px as width × height."""
    height, width = size
    return f"{width} × {height} px"


def format_size_setting(size: tuple[int, int]) -> str:
    """Write a height and width as the value of `data.image_size`."""
    height, width = size
    return str(height) if height == width else f"[{height}, {width}]"


def shorten(text: str, width: int) -> str:
    """Leave out the end of a text that is wider than `width` columns of a terminal."""
    from rich.cells import cell_len, set_cell_size

    return text if cell_len(text) <= width else f"{set_cell_size(text, max(0, width - 1))}…"


def align_columns(columns: Sequence[Sequence[str]], left: Collection[int] = ()) -> list[str]:
    """Join columns of entries into lines for a terminal; entries are at the right of their column, or at the left."""
    from rich.cells import cell_len

    aligned = []
    for place, column in enumerate(columns):
        width = max(map(cell_len, column))
        padded = ((entry, " " * (width - cell_len(entry))) for entry in column)
        aligned.append([entry + space if place in left else space + entry for entry, space in padded])
    return ["  ".join(line).rstrip() for line in zip(*aligned, strict=True)]


def find_closest(name: str, known: Iterable[str]) -> str | None:
    """Find the known name that is closest to a misspelled one, in any case of the letters; None if none is close."""
    by_lower = {one.lower(): one for one in known}
    near = difflib.get_close_matches(name.lower(), by_lower, n=1)
    return by_lower[near[0]] if near else None


def suggest_closest(name: str, known: Iterable[str], otherwise: str = "") -> str:
    """End a message about an unknown name with the closest known name; or with other advice, or known names."""
    known = sorted(known)
    if near := find_closest(name, known):
        return f"did you mean {near}?"
    return otherwise or f"known names: {join_words(known[:8])}."


def format_megabytes(size: int) -> str:
    """Format a number of bytes, such as 18.8 MB."""
    return f"{size / 1e6:.1f} MB"
