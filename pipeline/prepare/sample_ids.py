"""Image ids, which are also used as file names, and text in CSV cells."""

from __future__ import annotations

import unicodedata

from pipeline.wording import escape_unprintable

MAX_ID_BYTES = 200  # ids are parts of file names, which have at most 255 bytes
FORMULA_STARTS = ("=", "+", "-", "@")  # spreadsheets interpret cells that begin with these as formulas


def to_image_id(path: str) -> str:
    """Convert an image's name, without the extension, to an id that can be a file name.

    The name is the path below images/, or the part of the path that the wildcards of `data.images` match.

    The id is normalized (NFC), because macOS decomposes accented letters, and names that look equal should be equal.
    """
    return unicodedata.normalize("NFC", path).replace("\\", "/").replace("/", "__")


def find_id_problem(name: str) -> str:
    """Describe why a name cannot be an id, as a phrase that follows the name. Return "" if it can."""
    if name.startswith(FORMULA_STARTS):
        return f"begins with {name[0]}, which spreadsheets interpret as a formula"
    if not name.isprintable():
        return "has a line break or another control character, or is not UTF-8"
    if len(name.encode()) > MAX_ID_BYTES:
        return f"is {len(name.encode())} bytes long, folders included, but may have at most {MAX_ID_BYTES}"
    return ""


def to_csv_cell(text: str) -> str:
    """Convert text to one line that spreadsheets do not interpret as a formula."""
    text = escape_unprintable(text)
    return f"'{text}" if text.startswith(FORMULA_STARTS) else text
