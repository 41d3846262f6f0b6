"""Read the images in one column of a Parquet or Arrow file, a few rows at a time."""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.imaging.errors import ImageError

if TYPE_CHECKING:
    import pyarrow as pa

PARQUET, ARROW = ".parquet", ".arrow"
BYTES, PATH = "bytes", "path"  # fields of an image in Hugging Face's format
_BATCH_ROWS = 16
_BUFFER_BYTES = 1 << 20


class ColumnReader(ABC):
    """Reader of the images in a column."""

    def read(self, row: int) -> bytes:
        """Read the image in a row as the content of a file.

        Raises:
            ImageError: The cell is null or has only a path, or its part of the file is broken.
        """
        with convert_errors():
            value = self._read_value(row)
        path = value.get(PATH) if isinstance(value, dict) else None
        if isinstance(value, dict):
            value = value.get(BYTES)
        if value is None and path:
            raise ImageError(
                f"has no bytes, only the path {str(path)[:100]}. Save the data set with Dataset.to_parquet or "
                f"push_to_hub, which include the files"
            )
        if value is None:
            raise ImageError("is null")
        assert isinstance(value, bytes)
        return value

    @abstractmethod
    def _read_value(self, row: int) -> object:
        """Read a cell: bytes, a dict with bytes and a path, or None."""


class ParquetColumn(ColumnReader):
    """Reader of a Parquet column, which decodes one row group from its start, a few rows at a time.

    Memory does not depend on the size of row groups, which may have gigabytes, but only on that of their pages.
    """

    def __init__(self, path: Path, column: str) -> None:
        import pyarrow.parquet as pq

        self._column = column
        self._file = pq.ParquetFile(path, buffer_size=_BUFFER_BYTES, page_checksum_verification=True)
        rows = [self._file.metadata.row_group(group).num_rows for group in range(self._file.num_row_groups)]
        self._starts = [0, *accumulate(rows)]  # first row of each group, and the number of rows
        self._group = -1
        self._batches: Iterator[pa.RecordBatch] = iter(())
        self._cells: Any = ()  # the last batch
        self._first = 0  # row of the first cell

    def _read_value(self, row: int) -> object:
        group = bisect_right(self._starts, row) - 1
        if not 0 <= group < len(self._starts) - 1:
            raise ImageError(f"is missing; the file has {self._starts[-1]:,} rows")
        if group != self._group or row < self._first:
            self._group, self._cells, self._first = group, (), self._starts[group]
            self._batches = self._file.iter_batches(
                batch_size=_BATCH_ROWS, row_groups=[group], columns=[self._column], use_threads=False
            )
        while row >= self._first + len(self._cells):
            self._first += len(self._cells)
            batch = next(self._batches, None)
            if batch is None:
                self._group = -1
                raise ImageError("is missing; its row group has fewer rows than the file declares")
            self._cells = batch.column(self._column)
        return self._cells[row - self._first].as_py()


class ArrowColumn(ColumnReader):
    """Reader of a column in an Arrow stream, which is mapped into memory instead of being read."""

    def __init__(self, path: Path, column: str) -> None:
        import pyarrow as pa

        with pa.memory_map(str(path)) as source, pa.ipc.open_stream(source) as stream:
            self._cells = stream.read_all().column(column)
        self._cells.validate(full=True)  # invalid offsets would make the process crash

    def _read_value(self, row: int) -> object:
        if row >= len(self._cells):
            raise ImageError(f"is missing; the file has {len(self._cells):,} rows")
        return self._cells[row].as_py()


def create_reader(path: Path, column: str) -> ColumnReader:
    """Create the reader of a column.

    Raises:
        ImageError: The file is broken, or has no such column.
        OSError: The file cannot be opened.
    """
    with convert_errors():
        return ParquetColumn(path, column) if path.suffix.lower() == PARQUET else ArrowColumn(path, column)


@contextmanager
def convert_errors() -> Iterator[None]:
    """Convert the exceptions that a broken file can cause to `ImageError`."""
    try:
        yield
    except ImageError:
        raise
    except OSError as error:
        if error.errno is not None:
            raise
        raise ImageError(f"cannot be read ({_shorten(error)})") from None  # pyarrow's errors about broken files
    except Exception as error:  # broken files can raise any exception
        raise ImageError(f"cannot be read ({_shorten(error)})") from None


def _shorten(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
