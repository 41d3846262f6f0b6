"""The table of prepared sizes and the IoU that each of them allows, as lines of at most 80 columns."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rich.cells import cell_len, set_cell_size

from pipeline.prepare.names import readable
from pipeline.prepare.size_ceilings import SizeCeiling, SizeCeilings

WIDTH = 80  # columns
MIN_ROWS = 3  # for comparison, also where the first size is good
TITLE = "IoU that a perfect prediction reaches, resized back to the masks' own size:"

Column = tuple[str, Callable[[int], str]]  # heading, and entry by size


def format_size_table(ceilings: SizeCeilings, marked: int, columns: Sequence[Column] = ()) -> list[str]:
    """List the sizes up to the first good one, with a column per class; of many classes only the lowest.

    Args:
        ceilings: of the sizes.
        marked: the size whose row begins with >.
        columns: to add behind the classes.
    """
    if not ceilings.sizes:
        return []
    rows = _choose_rows(ceilings, marked)
    ending = [[heading, *(entry(row.size) for row in rows)] for heading, entry in columns]
    sizes = ["px", *(f"{row.size}" for row in rows)]
    names = list(ceilings.sizes[0].iou)
    by_class = [[readable(name), *(f"{row.iou[name]:.3f}" for row in rows)] for name in names]
    lines = _join([sizes, *by_class, *ending])
    if max(map(cell_len, lines)) > WIDTH - 2:
        lowest = [["lowest", *(f"{row.lowest:.3f}" for row in rows)]]
        lines = _join([sizes, *lowest, *ending])
        room = WIDTH - 2 - cell_len(lines[0]) - 2
        worst = ["class", *(readable(row.worst) for row in rows)]
        lines = [f"{line}  {_crop(name, room)}" for line, name in zip(lines, worst, strict=True)]
    marks = [" ", *(">" if row.size == marked else " " for row in rows)]
    return [TITLE, *(f"{mark} {line}".rstrip() for mark, line in zip(marks, lines, strict=True))]


def _choose_rows(ceilings: SizeCeilings, marked: int) -> list[SizeCeiling]:
    good = ceilings.sufficient
    last = max(good.size if good else ceilings.sizes[-1].size, marked)
    enough = sum(row.size <= last for row in ceilings.sizes)
    return list(ceilings.sizes[: max(enough, MIN_ROWS)])


def _join(columns: Sequence[Sequence[str]]) -> list[str]:
    """Join columns of entries into lines, each entry at the right end of its column."""
    widths = [max(map(cell_len, column)) for column in columns]
    return [
        "  ".join(" " * (width - cell_len(entry)) + entry for entry, width in zip(line, widths, strict=True))
        for line in zip(*columns, strict=True)
    ]


def _crop(name: str, room: int) -> str:
    return name if cell_len(name) <= room else f"{set_cell_size(name, room - 1)}…"
