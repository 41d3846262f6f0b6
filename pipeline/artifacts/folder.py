"""Base class of artifact folders: reads and writes JSON, tables and arrays; errors name the file and the command."""

from __future__ import annotations

import contextlib
import csv
import functools
import hashlib
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar

import numpy as np
import numpy.typing as npt
from pydantic import ConfigDict, TypeAdapter, ValidationError

from pipeline.array_errors import DAMAGED_ARRAY_ERRORS
from pipeline.atomic_io import atomic_directory, to_json
from pipeline.errors import PipelineError

if TYPE_CHECKING:
    import pandas as pd


def hash_file(path: Path) -> str:
    """Return the hexadecimal SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def list_files(folder: Path, without: Iterable[str] = ()) -> dict[str, Path]:
    """Return the files in a folder and its subfolders by their relative path; files named in `without` are left out."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path.name not in without)
    return {path.relative_to(folder).as_posix(): path for path in paths}


@dataclass(frozen=True)
class Record:
    """Content of a JSON file, or part of it; unknown keys, missing keys and wrong types are errors."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")


RecordT = TypeVar("RecordT", bound=Record)
_create_adapter: Callable[[Any], TypeAdapter[Any]] = functools.cache(TypeAdapter)


class ArtifactFolder:
    """A folder that one stage writes and other stages read. Its files are read on first access.

    Args:
        path: the path of the folder.
        root: the project's folder; error messages contain paths relative to it.
        create_all: the command that writes all artifacts, for error messages.
    """

    command: ClassVar[str]  # the command that writes the folder, for error messages; {name} is the folder's name
    MAIN: ClassVar[str]  # a file that every folder of the class has

    def __init__(self, path: Path, root: Path = Path(), create_all: str = "make report") -> None:
        self.path, self.root, self.create_all = path, root, create_all
        self.produced_by = self.command.format(name=path.name)

    @contextlib.contextmanager
    def replace(self) -> Iterator[Self]:
        """Yield a new, empty folder that replaces this one if the block succeeds; otherwise nothing changes."""
        with atomic_directory(self.path) as new:
            folder = type(self)(new, self.root, self.create_all)
            folder.produced_by = self.produced_by
            yield folder

    def exists(self) -> bool:
        """Return whether the folder has been written."""
        return (self.path / self.MAIN).exists()

    @property
    def redo_command(self) -> str:
        """The command that rewrites the folder, even if DVC considers it up to date."""
        return self.produced_by.replace("dvc repro ", "dvc repro --force ", 1)

    def display(self, name: str) -> str:
        """Return the path of a file as shown in error messages."""
        path = self.path / name
        return str(path.relative_to(self.root) if path.is_relative_to(self.root) else path)

    @contextlib.contextmanager
    def reading(self, name: str) -> Iterator[Path]:
        """Yield the path of a file to a block that reads it, and convert the block's errors.

        Raises:
            PipelineError: The file is missing or cannot be read. The message names the command that writes it.
        """
        try:
            yield self.path / name
        except FileNotFoundError:
            raise PipelineError(
                f"{self.display(name)} is missing. Run `{self.produced_by}` to create it, or `{self.create_all}` to "
                "create everything."
            ) from None
        except ValidationError as error:
            raise self.unreadable(name, _describe(error)) from None
        except (*DAMAGED_ARRAY_ERRORS, IndexError, csv.Error) as error:
            raise self.unreadable(name, f"{type(error).__name__}: {error}") from None

    def unreadable(self, name: str, problem: str) -> PipelineError:
        """Create the error for a file that cannot be read."""
        problem = problem.replace(f"{self.root}/", "") if self.root != Path() else problem
        return PipelineError(f"{self.display(name)} cannot be read ({problem}). Run `{self.redo_command}` again.")

    def read_json(self, name: str, record: type[RecordT]) -> RecordT:
        """Read a JSON file; raise `PipelineError` if it is missing or does not match the type `record`."""
        with self.reading(name) as path:
            content: RecordT = _create_adapter(record).validate_json(path.read_bytes())
            return content

    def write_json(self, name: str, content: Record) -> None:
        """Write a JSON file."""
        (self.path / name).write_text(to_json(content), encoding="utf-8")

    def read_table(self, name: str, columns: Sequence[str], dtypes: Mapping[str, type]) -> pd.DataFrame:
        """Read a CSV file; raise `PipelineError` if it is missing or one of the columns is missing.

        Columns in `dtypes` have no missing values, because a class or an image may have a name such as "NA". In the
        other columns, cells that are empty or "nan" are missing values.
        """
        import pandas as pd

        with self.reading(name) as path:
            with path.open(encoding="utf-8", newline="") as file:  # pandas would take as long as for the whole table
                header = next(csv.reader(file), [])
            missing_values = {column: ["", "nan"] for column in header if column not in dtypes}
            table = pd.read_csv(path, dtype=dict(dtypes), keep_default_na=False, na_values=missing_values)
            if missing := [column for column in columns if column not in table.columns]:
                raise ValueError(f"it has no column {', '.join(missing)}")
            return table

    def write_table(self, name: str, columns: Sequence[str], rows: Iterable[Iterable[object]]) -> None:
        """Write a CSV file with one header row."""
        with (self.path / name).open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(columns)
            writer.writerows(rows)

    def read_arrays(self, name: str) -> dict[str, npt.NDArray[Any]]:
        """Read all arrays of an `.npz` file."""
        with self.reading(name) as path, np.load(path, allow_pickle=False) as file:
            return dict(file)

    def write_arrays(self, name: str, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        """Write arrays to an `.npz` file. numpy stores no timestamps, so equal arrays give equal bytes."""
        with (self.path / name).open("wb") as file:
            np.savez_compressed(file, allow_pickle=False, **arrays)


def drop_nan(value: float) -> float | str:
    """Return a number, or for NaN an empty string, which is a missing value in a CSV file and in MLflow."""
    return "" if math.isnan(value) else value


def _describe(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    key = ".".join(str(part) for part in first["loc"])
    return f"{key}: {first['msg']}" if key else first["msg"]
