"""Names of images: as ids that other stages name files by, and as cells of a table."""

from __future__ import annotations

import unicodedata

from pipeline.wording import escape_unprintable

MAX_ID_BYTES = 200  # other stages name files by ids; a file name has at most 255 bytes
FORMULA_STARTS = ("=", "+", "-", "@")  # spreadsheets take cells that begin with these for formulas


def image_id(path: str) -> str:
    """Derive the id of an image from its path below images/, without the extension; it is usable as a file name.

    It is normalized (NFC), since macOS decomposes accented letters: names that look equal are equal.
    """
    return unicodedata.normalize("NFC", path).replace("\\", "/").replace("/", "__")


def find_id_problem(name: str) -> str:
    """Describe why a name cannot be an id, in words that follow it; empty if it can."""
    if name.startswith(FORMULA_STARTS):
        return f"begins with {name[0]}, which spreadsheets take for a formula"
    if not name.isprintable():
        return "has a line break or another control character, or is not UTF-8"
    if len(name.encode()) > MAX_ID_BYTES:
        return f"is {len(name.encode())} bytes long, folders included, but may have {MAX_ID_BYTES}"
    return ""


def to_csv_cell(text: str) -> str:
    """Write a text as a cell of a CSV file that spreadsheets do not take for a formula, on one line."""
    text = escape_unprintable(text)
    return f"'{text}" if text.startswith(FORMULA_STARTS) else text
