"""Names of images: as ids that other stages name files by, and as a person may read them in a message or a table."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

MAX_NAMES = 10  # files or lines that an error names
MAX_ID_BYTES = 200  # bytes of an id: other stages name files by it, and a file's name holds 255
FORMULA_STARTS = ("=", "+", "-", "@")  # at the start of a cell, spreadsheets take what follows for a formula


def image_id(path: str) -> str:
    """Derive an image's id from its path below images/, without the ending: fit for a file's name, nested or not.

    Normalized (NFC), since macOS writes ä as a and two dots: names that look equal are equal.
    """
    return unicodedata.normalize("NFC", path).replace("\\", "/").replace("/", "__")


def find_id_problem(name: str) -> str:
    """Why a name cannot be an id, in words that follow it; empty where it can."""
    if name.startswith(FORMULA_STARTS):
        return f"begins with {name[0]}, which spreadsheets take for a formula"
    if not name.isprintable():
        return "holds a line break or another control character, or bytes that are no UTF-8"
    if len(name.encode()) > MAX_ID_BYTES:
        return f"is {len(name.encode())} bytes long, folders included, but may have {MAX_ID_BYTES}"
    return ""


def escape_unprintable(name: str) -> str:
    """A name as one line: what cannot be printed is written as an escape."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape", "surrogatepass").decode() for letter in name
    )


def to_csv_cell(text: str) -> str:
    """A text as a cell that no spreadsheet computes, and that stays on its line."""
    text = escape_unprintable(text)
    return f"'{text}" if text.startswith(FORMULA_STARTS) else text


def format_count(count: int, single: str, several: str) -> str:
    """Write a count with the noun, and perhaps the verb, that agrees with it."""
    return f"{count:,} {single if count == 1 else several}"


def count_and_list(single: str, several: str, names: Sequence[str]) -> str:
    """How many there are of a kind, and the first of them by name."""
    return f"{len(names)} {single if len(names) == 1 else several}: {join_names(names)}"


def join_names(names: Sequence[str], most: int = MAX_NAMES) -> str:
    """The first names, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(map(escape_unprintable, names[:most])) + more
