"""How much of each picture is of which class, as CSV and for a terminal."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from rich.table import Table

from pipeline.prepare.names import COMPUTED
from pipeline.runs import DataSet

SHOWN = 20  # pictures in a terminal


@dataclass(frozen=True)
class Row:
    """A segmented picture in the table."""

    file: str
    height: int
    width: int
    shares: tuple[float, ...]  # by class


def as_csv(rows: Sequence[Row], data: DataSet) -> str:
    """A row a picture: file, height, width, share_<class>."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["file", "height", "width", *(f"share_{item.name}" for item in data.classes)])
    for row in rows:
        # A spreadsheet takes a name that begins so for a formula.
        file = f"./{row.file}" if row.file.startswith(COMPUTED) else row.file
        writer.writerow([file, row.height, row.width, *(f"{share:.6f}" for share in row.shares)])
    return buffer.getvalue()


def as_table(rows: Sequence[Row], data: DataSet) -> Table:
    """The classes' shares of the first pictures, and of all on average, for a terminal."""
    table = Table(box=None, pad_edge=False)
    table.add_column("picture", overflow="fold")
    table.add_column("pixels", justify="right")
    for item in data.classes:
        table.add_column(item.name, justify="right")
    for row in rows[:SHOWN]:
        table.add_row(row.file, f"{row.width} × {row.height}", *(f"{share:.1%}" for share in row.shares))
    if len(rows) > SHOWN:
        table.add_row(f"and {len(rows) - SHOWN} more", "")
    if len(rows) > 1:
        means = np.mean([row.shares for row in rows], axis=0)
        table.add_row("mean", "", *(f"{share:.1%}" for share in means))
    return table
