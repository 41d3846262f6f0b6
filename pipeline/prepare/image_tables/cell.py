"""Cells of tables as image files in memory."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from pipeline.imaging.errors import ImageError
from pipeline.prepare.image_tables.column_reader import ColumnReader, create_reader

_REFERENCE = re.compile(r"(.+\.(?i:parquet|arrow))\[([0-9]{6,})\]\.(.+)", re.DOTALL)
_OPEN_COLUMNS = 2  # per process: images and masks; an open column keeps a page in memory


@dataclass(frozen=True)
class CellReference:
    """A cell of a table. As text, it takes the place of a file's path, such as `train.parquet[000012].image`."""

    file: str
    row: int
    column: str

    def __str__(self) -> str:
        """Format the reference, so that references in the order of their texts are in the order of their rows."""
        return f"{self.file}[{self.row:06d}].{self.column}"

    @classmethod
    def parse(cls, text: str) -> CellReference | None:
        """Parse a reference. Return None for the path of a file."""
        found = _REFERENCE.fullmatch(text)
        return cls(found[1], int(found[2]), found[3]) if found else None


def read_cell(folder: Path, cell: CellReference, max_bytes: int) -> bytes:
    """Read a cell as the content of an image file.

    Readers are kept open, and reading rows in ascending order decodes each part of a file once.

    Raises:
        OSError: The file cannot be opened.
        ImageError: The cell is null or too large, or its part of the file is broken.
    """
    path = (folder / cell.file).absolute()
    state = path.stat()
    content = _open_reader(path, cell.column, state.st_size, state.st_mtime_ns).read(cell.row)
    if len(content) > max_bytes:
        raise ImageError(f"has {len(content):,} bytes; the limit is {max_bytes:,}")
    return content


@lru_cache(maxsize=_OPEN_COLUMNS)
def _open_reader(path: Path, column: str, _size: int, _modified: int) -> ColumnReader:
    return create_reader(path, column)
