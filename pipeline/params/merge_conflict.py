"""Finds and takes apart the conflict markers that git writes into a file that it cannot merge."""

from __future__ import annotations

import re
from dataclasses import dataclass

_MARKER = re.compile(
    r"^(<{7}|\|{7}|={7}|>{7})(?: .*)?\r?\n?$"
)  # git's default length; `|` with merge.conflictStyle diff3


@dataclass(frozen=True)
class Conflict:
    """The first conflict in a file: lines, counted from 1, of its first and its last marker."""

    begin: int
    end: int | None  # None if the closing marker is missing

    def describe(self) -> str:
        """Return its lines and how to resolve it."""
        lines = f"line {self.begin}" if self.end is None else f"lines {self.begin} to {self.end}"
        return (
            f"git could not merge {lines} (<<<<<<< to >>>>>>>). Keep the lines that should remain, remove the markers, "
            "and run the same command again."
        )


def find_conflict(text: str) -> Conflict | None:
    """Return the first conflict in a text; None without one."""
    begin = None
    for number, line in enumerate(text.splitlines(), start=1):
        marker = _marker(line)
        if marker == "<" and begin is None:
            begin = number
        elif marker == ">" and begin is not None:
            return Conflict(begin, number)
    return None if begin is None else Conflict(begin, None)


def split_sides(text: str) -> tuple[str, str]:
    """Return the text as either side of its conflicts has it, ours and theirs.

    Raises:
        ValueError: The markers are not in git's order.
    """
    ours, theirs = list[str](), list[str]()
    state = ""  # marker of the part that the line is in
    allowed = {"<": ("",), "|": ("<",), "=": ("<", "|"), ">": ("=",)}
    for number, line in enumerate(text.splitlines(keepends=True), start=1):
        marker = _marker(line)
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


def _marker(line: str) -> str:
    found = _MARKER.match(line)
    return found[1][0] if found else ""
