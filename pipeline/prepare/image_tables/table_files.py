"""List the tables of a data set with their splits, columns and metadata."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from pipeline.errors import PipelineError
from pipeline.imaging.errors import ImageError
from pipeline.prepare.image_tables.column_reader import ARROW, BYTES, PARQUET, PATH, convert_errors
from pipeline.prepare.sources.image_files import list_files
from pipeline.prepare.splitting.read_splits import match_split
from pipeline.wording import escape_unprintable, find_closest, join_names

if TYPE_CHECKING:
    import pyarrow as pa

METADATA_KEY = b"huggingface"  # of a schema's metadata
_ARROW_NAME = re.compile(r"data-\d+-of-\d+\.arrow")  # files of Dataset.save_to_disk; others are caches
_SHARD = re.compile(r"[-_.]?\d+([-_]of[-_]\d+)?$")
_SEPARATORS = re.compile(r"[ ._-]+")
_PATH_ROWS = 1024
_MAX_ROWS = 10_000_000  # of a file; a broken file may declare any number


@dataclass(frozen=True)
class TableFile:
    """A Parquet or Arrow file.

    Attributes:
        file: Path relative to the folder of the data set.
        split: Split that the file or its folder is named like; empty if there is none.
        num_rows: Number of rows.
        schema: Columns, and the features of the data set as metadata.
    """

    file: str
    split: str
    num_rows: int
    schema: pa.Schema

    def list_image_columns(self) -> list[str]:
        """List the columns that may contain images."""
        return [field.name for field in self.schema if _has_bytes(field.type)]

    def read_features(self) -> Mapping[str, Any]:
        """Read the description of the columns by `datasets`; empty if there is none."""
        content = (self.schema.metadata or {}).get(METADATA_KEY)
        try:
            features = json.loads(content)["info"]["features"] if content else {}
        except (ValueError, KeyError, TypeError, RecursionError):
            return {}
        return features if isinstance(features, dict) else {}


def _has_bytes(kind: pa.DataType) -> bool:
    """Return whether a column has files: as bytes, or as a struct with bytes and a path."""
    import pyarrow as pa

    if pa.types.is_struct(kind) and kind.get_field_index(BYTES) >= 0:
        kind = kind.field(BYTES).type
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def find_table_files(folder: Path, key: str) -> list[str]:
    """List the paths of the tables in a folder. Return an empty list if there are none.

    Raises:
        PipelineError: There are both Parquet files and a data set that was saved with `save_to_disk`, or a folder is a
            symbolic link.
    """
    files = list_files(folder, "", key)
    found = {
        PARQUET: [str(path) for path in files if path.suffix.lower() == PARQUET],
        ARROW: [str(path) for path in files if _ARROW_NAME.fullmatch(path.name)],
    }
    if found[PARQUET] and found[ARROW]:
        raise PipelineError(
            f"{key}: {folder} contains Parquet files ({join_names(found[PARQUET])}) and Arrow files "
            f"({join_names(found[ARROW])}), which may be the same images twice. Move one of them elsewhere."
        )
    return found[PARQUET] or found[ARROW]


def open_tables(folder: Path, files: Sequence[str], key: str) -> list[TableFile]:
    """Read the columns and numbers of rows of tables.

    Raises:
        PipelineError: A file is broken.
    """
    return [_open_table(folder, file, key) for file in files]


def _open_table(folder: Path, file: str, key: str) -> TableFile:
    try:
        with convert_errors():
            num_rows, schema = _read_schema(folder / file)
        if not 0 <= num_rows <= _MAX_ROWS:
            raise ImageError(f"declares {num_rows:,} rows; the limit is {_MAX_ROWS:,}")
    except ImageError as error:
        raise PipelineError(
            f"{key}: {folder / file} {escape_unprintable(str(error))}; expected a complete {Path(file).suffix[1:]} "
            f"file. Download or export it again."
        ) from None
    return TableFile(file, find_split(file), num_rows, schema)


def _read_schema(path: Path) -> tuple[int, pa.Schema]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    if path.suffix.lower() == PARQUET:
        with pq.ParquetFile(path) as table:
            return table.metadata.num_rows, table.schema_arrow
    with pa.memory_map(str(path)) as source, pa.ipc.open_stream(source) as stream:
        return sum(batch.num_rows for batch in stream), stream.schema


def check_columns(tables: Sequence[TableFile], columns: Mapping[str, str], folder: Path) -> None:
    """Check that all tables have the columns of the images and the masks.

    Args:
        tables: Tables of the data set.
        columns: Name of a column by the parameter that names it.
        folder: Folder of the tables, for messages.

    Raises:
        PipelineError: A column is missing, or has a type that cannot be an image.
    """
    for key, column in columns.items():
        for table in tables:
            names = table.schema.names
            where = f"{key}: {folder / table.file}"
            if column not in names:
                hint = f" Did you mean '{near}'?" if (near := find_closest(column, names)) else ""
                raise PipelineError(
                    f"{where} has no column '{column}'; its columns are {join_names(names) or 'missing'}.{hint} If the "
                    f"data set has several configurations, set data.path to the folder of one of them."
                )
            if names.count(column) > 1 or column not in table.list_image_columns():
                raise PipelineError(
                    f"{where}: the column '{column}' has the type {table.schema.field(names.index(column)).type}, but "
                    f"must contain encoded images: binary, or a struct of bytes and path as `datasets` writes. Columns "
                    f"of this type: {join_names(table.list_image_columns()) or 'none'}."
                )


def find_split(file: str) -> str:
    """Find the split that a file is named like, as in `data/train-00000-of-00002.parquet`, or else one of its folders.

    Return "" if there is none, or if a name has several.
    """
    path = PurePosixPath(file)
    for name in (_SHARD.sub("", path.stem), *(folder.name for folder in path.parents)):
        if found := {split for word in (name, *_SEPARATORS.split(name)) if (split := match_split(word))}:
            return found.pop() if len(found) == 1 else ""
    return ""


def read_stems(path: Path, column: str, num_rows: int) -> list[str] | None:
    """Read the original file names of the images in a column, without folders and extensions.

    Returns:
        One name per row. None if a name is missing.

    Raises:
        ImageError: The file is broken.
    """
    stems = [PurePosixPath(text).stem if isinstance(text, str) else "" for text in _read_paths(path, column)]
    return stems if len(stems) == num_rows and all(stems) else None


def _read_paths(path: Path, column: str) -> Iterator[object]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with convert_errors():
        if path.suffix.lower() == PARQUET:
            with pq.ParquetFile(path) as table:
                kind = table.schema_arrow.field(column).type
                if not pa.types.is_struct(kind) or kind.get_field_index(PATH) < 0:
                    return
                leaf = f"{column}.{PATH}"
                for batch in table.iter_batches(batch_size=_PATH_ROWS, columns=[leaf], use_threads=False):
                    yield from batch.column(column).field(PATH).to_pylist()
            return
        with pa.memory_map(str(path)) as source, pa.ipc.open_stream(source) as stream:
            for batch in stream:
                cells = batch.column(column)
                cells.validate(full=True)
                if not pa.types.is_struct(cells.type) or cells.type.get_field_index(PATH) < 0:
                    return
                yield from cells.field(PATH).to_pylist()
