"""Find and take apart the conflict markers that git writes into a file that it cannot merge."""

from __future__ import annotations

import re

# git's default length; `|` with merge.conflictStyle diff3
_MARKER = re.compile(r"^(<{7}|\|{7}|={7}|>{7})(?: .*)?\r?\n?$")


def find_conflict(text: str) -> str | None:
    """Describe the first conflict in a text and how to resolve it; None without one."""
    begin, where = 0, ""
    for number, line in enumerate(text.splitlines(), start=1):
        marker = _marker(line)
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
