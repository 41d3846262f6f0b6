"""A store whose folder was moved or copied: MLflow keeps absolute paths of artifacts, which are rewritten here."""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import urllib.parse
from pathlib import Path

from filelock import FileLock, Timeout

from pipeline.errors import PipelineError
from pipeline.tracking.sqlite_errors import describe_sqlite_error

logger = logging.getLogger("pipeline.tracking")

ARTIFACTS = "mlruns"  # beside the database
FILE = "file://"
_WAIT_SECONDS = 30
# Every column of MLflow's tables that holds where artifacts are.
_COLUMNS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)


def follow_move(path: Path, connection: sqlite3.Connection) -> None:
    """Rewrite where artifacts are if the store was moved or copied with its folder.

    A copy's database is rewritten and the original's stays as it is. Locations that this project did not choose, such
    as `/big/mlruns/1`, are left alone.

    Args:
        path: the database.
        connection: to it.

    Raises:
        PipelineError: The database cannot be written.
    """
    if not _find_moved(path, connection):
        return
    try:
        with (
            FileLock(f"{path}.lock", timeout=_WAIT_SECONDS),
            contextlib.closing(sqlite3.connect(path)) as writing,
            writing,  # a transaction
        ):
            writing.execute("BEGIN IMMEDIATE")
            moved = _find_moved(path, writing)  # another process may have been faster
            for folder in moved:
                _rewrite(writing, folder / ARTIFACTS, path.parent / ARTIFACTS)
    except sqlite3.Error as error:
        raise PipelineError(
            f"{describe_sqlite_error(path, str(error))} The store was moved here and still names its former folder for "
            "the files of its runs."
        ) from None
    except (OSError, Timeout) as error:
        raise PipelineError(
            f"{path} was moved here and still names its former folder for the files of its runs, but cannot be updated "
            f"({error}). Make the file and its folder writable, or copy both {path.name} and {ARTIFACTS}/ to a folder "
            "of yours."
        ) from None
    for folder in moved:
        logger.warning("%s was moved here from %s; its runs' files are now expected in %s.", path, folder, ARTIFACTS)


def _find_moved(path: Path, connection: sqlite3.Connection) -> list[Path]:
    """Return the folders that the store was in before, as its experiments' locations say."""
    rows = connection.execute("SELECT DISTINCT artifact_location FROM experiments")
    folders = {_to_path(location).parent for (location,) in rows if _to_path(location).name == ARTIFACTS}
    return sorted(folder for folder in folders if _was_left(folder, path.parent))


def _was_left(folder: Path, now: Path) -> bool:
    """Whether a store in `now` was in `folder` before, with the artifacts beside it."""
    if folder == now or not folder.is_absolute():
        return False
    with contextlib.suppress(OSError):
        if folder.samefile(now):  # by another name, through a link
            return False
    # A database that was copied alone keeps using the artifacts of the original.
    return (now / ARTIFACTS).is_dir() or not _exists(folder / ARTIFACTS)


def _exists(folder: Path) -> bool:
    try:
        return folder.exists()
    except OSError:  # a folder above it may not be entered
        return False


def _to_path(location: str) -> Path:
    """Return the path of a location, a plain path or a URI; that of another scheme has the name of no folder here."""
    if location.startswith(FILE):
        return Path(urllib.parse.unquote(urllib.parse.urlsplit(location).path))
    return Path() if "://" in location else Path(location)


def _rewrite(connection: sqlite3.Connection, old: Path, new: Path) -> None:
    prefixes = {str(old): str(new), f"{FILE}{urllib.parse.quote(str(old))}": f"{FILE}{urllib.parse.quote(str(new))}"}
    prefixes.setdefault(f"{FILE}{old}", f"{FILE}{new}")
    for table, column in _COLUMNS:
        for before, after in prefixes.items():
            connection.execute(
                f"UPDATE {table} SET {column} = ? || substr({column}, ?) "
                f"WHERE {column} = ? OR substr({column}, 1, ?) = ?",
                (after, len(before) + 1, before, len(before) + 1, f"{before}/"),
            )
