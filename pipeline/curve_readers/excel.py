"""Read tables from Excel workbooks."""

from __future__ import annotations

import io
import warnings
from typing import Any

from pipeline.curve_readers.log_file import LogFile
from pipeline.curve_readers.records import EXPECTED, Record
from pipeline.errors import PipelineError
from pipeline.wording import format_megabytes, join_names

MAX_UNCOMPRESSED = 100_000_000  # bytes
MAX_ROWS, MAX_COLUMNS = 100_000, 500
_ZIP, _OLD_FORMAT = b"PK\x03\x04", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"


def recognizes_excel(file: LogFile) -> bool:
    """Return whether a file is a ZIP archive, as workbooks are, or a workbook of Excel before 2007."""
    return file.head.startswith((_ZIP, _OLD_FORMAT))


def read_excel_rows(file: LogFile) -> tuple[list[Record], list[str]]:
    """Read the rows of the first sheet of a workbook, and a note if it has several.

    Raises:
        PipelineError: The workbook cannot be read, or openpyxl is not installed.
    """
    if file.head.startswith(_OLD_FORMAT):
        raise PipelineError(f"{file.path} has the format of Excel before 2007 (.xls). Save it as .xlsx or CSV.")
    try:
        import openpyxl
    except ModuleNotFoundError:
        raise PipelineError(
            f"{file.path} is an Excel workbook, which requires the package openpyxl. Install it (pip install "
            f"openpyxl), or save the sheet as CSV."
        ) from None
    _check_size(file)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about styles and other content that is not needed
            workbook = openpyxl.load_workbook(io.BytesIO(file.read_bytes()), read_only=True, data_only=True)
            sheet = workbook.worksheets[0]
            sheet.reset_dimensions()  # they may be wrong
            rows = list(sheet.iter_rows(max_row=MAX_ROWS + 1, max_col=MAX_COLUMNS, values_only=True))
            sheets = [other.title for other in workbook.worksheets]
            workbook.close()
    except Exception as error:  # openpyxl raises whatever a damaged file causes
        raise PipelineError(f"{file.path} is not a readable Excel workbook ({type(error).__name__}).") from None
    if len(rows) > MAX_ROWS:
        raise PipelineError(f"{file.path} has more than {MAX_ROWS:,} rows. Export only the losses.")
    notes = [f"Only the first sheet, {sheets[0]}, was read."] if len(sheets) > 1 else []
    return _list_records(rows, file), notes


def _check_size(file: LogFile) -> None:
    """Refuse archives that are much larger when unpacked."""
    import zipfile  # slow to import

    try:
        with zipfile.ZipFile(file.path) as archive:
            entries = archive.infolist()
            is_workbook = any(entry.filename == "xl/workbook.xml" for entry in entries)
            size = sum(entry.file_size for entry in entries)
    except (OSError, zipfile.BadZipFile, NotImplementedError, ValueError):
        raise PipelineError(f"{file.path} is a damaged ZIP archive. Save the workbook again.") from None
    if not is_workbook:
        raise PipelineError(f"{file.path} is a ZIP archive without an Excel workbook; {EXPECTED}.")
    if size > MAX_UNCOMPRESSED:
        raise PipelineError(
            f"{file.path} has {format_megabytes(size)} when unpacked; expected at most "
            f"{format_megabytes(MAX_UNCOMPRESSED)}."
        )


def _list_records(rows: list[tuple[Any, ...]], file: LogFile) -> list[Record]:
    numbered = [(number, row) for number, row in enumerate(rows, start=1) if any(cell is not None for cell in row)]
    if not numbered:
        raise PipelineError(f"{file.path} is empty; {EXPECTED}.")
    names = ["" if cell is None else str(cell).strip() for cell in numbered[0][1]]
    used = [column for column, name in enumerate(names) if name]
    if len({names[column] for column in used}) < len(used):
        raise PipelineError(f"{file.path} has two columns with the same name: {join_names(names, 20)}. Rename one.")
    return [
        Record(
            {names[column]: row[column] if column < len(row) else None for column in used},
            f"{file.path}, row {number}",
        )
        for number, row in numbered[1:]
    ]
