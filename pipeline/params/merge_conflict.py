"""Find git conflict markers in text, and separate the two sides of a conflict."""

from __future__ import annotations

import re

# Markers have git's default length. git writes `|` if merge.conflictStyle is diff3.
_MARKER = re.compile(r"^(<{7}|\|{7}|={7}|>{7})(?: .*)?\r?\n?$")


def find_conflict(text: str) -> str | None:
    """Describe the first conflict in text and how to resolve it. Return None if there is no conflict."""
    begin, where = 0, ""
    for number, line in enumerate(text.splitlines(), start=1):
        marker = _find_marker(line)
        if marker == "<" and not begin:
            begin, where = number, f"line {number}"
        elif marker == ">" and begin:
            where = f"lines {begin} to {number}"
            break
    if not begin:
        return None
    return (
        f"git could not merge {where} (<<<<<<< to >>>>>>>). Keep the lines that should remain, remove the markers, and "
        "run the same command again."
    )


def split_sides(text: str) -> tuple[str, str]:
    """Resolve all conflicts in text both ways, and return our version and their version.

    Raises:
        ValueError: The markers are not in git's order.
    """
    ours, theirs = list[str](), list[str]()
    state = ""  # first character of the last marker; empty outside a conflict
    allowed = {"<": ("",), "|": ("<",), "=": ("<", "|"), ">": ("=",)}
    for number, line in enumerate(text.splitlines(keepends=True), start=1):
        marker = _find_marker(line)
        # Outside a conflict, `=======` underlines a heading.
        if marker and (state or marker == "<"):
            if state not in allowed[marker]:
                raise ValueError(f"line {number}: conflict marker {marker * 7} in the wrong place")
            state = "" if marker == ">" else marker
            continue
        if state in ("", "<"):
            ours.append(line)
        if state in ("", "="):
            theirs.append(line)
    if state:
        raise ValueError("the last conflict has no closing marker >>>>>>>")
    return "".join(ours), "".join(theirs)


def _find_marker(line: str) -> str:
    found = _MARKER.match(line)
    return found[1][0] if found else ""
