"""Read tables separated by commas, semicolons or tabs, such as those of Keras, Lightning, fastai and Ultralytics."""

from __future__ import annotations

import csv
import io

from pipeline.curve_readers.log_file import LogFile
from pipeline.curve_readers.losses import find_name
from pipeline.curve_readers.parsing import parse_number
from pipeline.curve_readers.records import EPOCH_NAMES, EXPECTED, Record
from pipeline.errors import PipelineError
from pipeline.wording import join_names

MAX_HEADER = 1_000_000  # characters
MAX_COLUMNS = 10_000


def read_rows(file: LogFile) -> tuple[list[Record], list[str]]:
    """Read the rows of a table, and notes about rows that were changed or left out.

    fastai appends a table with its own header for every call of `fit`. Such tables are continued.

    Raises:
        PipelineError: The table cannot be read, is empty, or a row does not match the header.
    """
    text = file.read_text(EXPECTED)
    header = text.lstrip("\r\n").partition("\n")[0][:MAX_HEADER]
    reader = csv.reader(
        io.StringIO(text, newline=""),
        delimiter=next((mark for mark in "\t;" if mark in header), ","),
        skipinitialspace=True,
    )
    names: list[str] = []
    parts: list[list[Record]] = [[]]
    notes = []
    try:
        for cells in reader:
            if not cells:
                continue
            if not names:
                names = _check_header([name.strip() for name in cells], file)
            elif [cell.strip() for cell in cells] == names:
                parts.append([])
            elif len(cells) == len(names):
                values: dict[str, object] = dict(zip(names, cells, strict=True))
                parts[-1].append(Record(values, f"{file.path}, line {reader.line_num}"))
            elif len(cells) < len(names) and _is_last_line(text, reader.line_num):
                notes.append("The last line is incomplete and was left out.")
            else:
                raise PipelineError(
                    f"{file.path}, line {reader.line_num}: the number of values differs from the {len(names)} column "
                    f"names in the first line."
                )
    except csv.Error as error:
        raise PipelineError(f"{file.path} is not a UTF-8 table ({error}); {EXPECTED}.") from None
    if not names:
        raise PipelineError(f"{file.path} is empty; {EXPECTED}.")
    parts = [part for part in parts if part]
    if len(parts) > 1:
        notes += _continue_epochs(parts, names)
    return [record for part in parts for record in part], notes


def _check_header(names: list[str], file: LogFile) -> list[str]:
    if not any(names):
        raise PipelineError(f"{file.path} is empty; {EXPECTED}.")
    if len(names) > MAX_COLUMNS:
        raise PipelineError(f"{file.path} has {len(names):,} columns; expected at most {MAX_COLUMNS:,}.")
    if len(set(names)) < len(names):
        raise PipelineError(f"{file.path} has two columns with the same name: {join_names(names)}. Rename one.")
    return names


def _is_last_line(text: str, line: int) -> bool:
    """Return whether a line is the last one and has no line break, because it is still being written."""
    return not text.endswith(("\n", "\r")) and line == text.count("\n") + 1


def _continue_epochs(parts: list[list[Record]], names: list[str]) -> list[str]:
    """Renumber the epochs of every part with its own header after those of the part before."""
    column = find_name(names, EPOCH_NAMES)
    if column is None:
        return []
    last: float | None = None
    is_renumbered = False
    for part in parts:
        epochs = [parse_number(record.values[column], record.location, "the epoch") for record in part]
        shift = 0.0
        if last is not None and min(epochs) <= last:
            shift, is_renumbered = last + 1 - min(epochs), True
        for record, epoch in zip(part, epochs, strict=True):
            record.values[column] = epoch + shift
        last = max(epochs) + shift
    if not is_renumbered:
        return []
    return [f"The table has {len(parts)} headers, and its epochs start again below each, so they were renumbered."]
