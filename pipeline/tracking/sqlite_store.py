"""Create and check MLflow's store in a SQLite file, update its paths after a move, and describe its errors."""

from __future__ import annotations

import contextlib
import logging
import re
import sqlite3
import urllib.parse
from pathlib import Path

from filelock import FileLock, Timeout

from pipeline.errors import PipelineError
from pipeline.runtime.shutdown import hold

logger = logging.getLogger("pipeline.tracking")

SQLITE = "sqlite:///"
_CREATE_SECONDS = 120  # maximum wait for another process that creates the store, which takes 5 s on an idle machine
_PROBE_SECONDS = 5
ARTIFACTS = "mlruns"  # artifact folder beside the database
FILE = "file://"
_WAIT_SECONDS = 30
# Columns with artifact locations in MLflow's tables.
_COLUMNS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)
_SQLALCHEMY = re.compile(r"\(sqlite3\.\w+\) ([^\n]+)")  # SQLAlchemy appends the SQL statement
_AGAIN = "then run the same command again."
_ADVICE = {
    "database or disk is full": f"Free some space, {_AGAIN}",
    "disk I/O error": f"Check the disk for free space, limits and faults, {_AGAIN}",
    "attempt to write a readonly database": f"Make the file and its folder writable, {_AGAIN}",
    "database is locked": "Another program is writing to it; run the same command again when that has ended.",
}


def find_sqlite_file(uri: str) -> Path | None:
    """Return the file of a SQLite URI; None for other URIs and for a database in memory."""
    name = uri.removeprefix(SQLITE).partition("?")[0]
    return Path(name) if uri.startswith(SQLITE) and name not in ("", ":memory:") else None


def has_content(path: Path) -> bool:
    """Return whether a file exists and is not empty."""
    return path.exists() and path.stat().st_size > 0


def create_store(path: Path) -> None:
    """Create the store atomically: hold a lock, and write under a temporary name that is changed at the end.

    Otherwise, two processes that create tables in the same file, or a process that is killed between two tables, would
    leave a broken store.
    """
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    path.parent.mkdir(parents=True, exist_ok=True)
    with hold(FileLock(f"{path}.lock", timeout=_CREATE_SECONDS)):
        if has_content(path):
            return
        partial = path.with_name(f"{path.name}.partial")
        for leftover in (partial, Path(f"{partial}-journal")):
            leftover.unlink(missing_ok=True)
        try:
            # Do not use MlflowClient, which would put the artifacts of the default experiment into the current folder.
            store = SqlAlchemyStore(f"{SQLITE}{partial}", str(path.parent / ARTIFACTS))  # type: ignore[no-untyped-call]
            store.engine.dispose()
            partial.replace(path)
        finally:
            for leftover in (partial, Path(f"{partial}-journal")):
                leftover.unlink(missing_ok=True)


def check_store(path: Path) -> None:
    """Check that a database is an MLflow store, and update it after a move.

    The check takes a millisecond, whereas MLflow retries a broken database for 100 seconds.

    Raises:
        PipelineError: The database is not a readable MLflow store, or cannot be updated after a move.
    """
    quoted = urllib.parse.quote(str(path))
    # Open it for writing, so that SQLite rolls back an incomplete transaction of a killed process.
    try:
        with contextlib.closing(
            sqlite3.connect(f"file:{quoted}?mode=rw", uri=True, timeout=_PROBE_SECONDS)
        ) as connection:
            connection.execute("SELECT version_num FROM alembic_version")
            follow_move(path, connection)
    except sqlite3.Error as error:
        raise PipelineError(
            f"{path} cannot be read as an MLflow store ({error}). Repair the file, or move it to another folder."
        ) from None


def follow_move(path: Path, connection: sqlite3.Connection) -> None:
    """Rewrite artifact locations if the store was moved or copied together with its folder.

    Only the database at `path` is rewritten, not the original of a copy. Locations that a user has chosen, such as
    `/big/mlruns/1`, do not change.

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
            moved = _find_moved(path, writing)  # another process may have rewritten them
            for folder in moved:
                _rewrite(writing, folder / ARTIFACTS, path.parent / ARTIFACTS)
    except sqlite3.Error as error:
        raise PipelineError(
            f"{describe_sqlite_error(path, str(error))} The store was moved here and still contains the old paths of "
            "its runs' files, which must be updated."
        ) from None
    except (OSError, Timeout) as error:
        raise PipelineError(
            f"{path} was moved here and still contains the old paths of its files, which cannot be updated ({error}). "
            f"Make the file and its folder writable, or copy {path.name} and {ARTIFACTS}/ to a folder that is."
        ) from None
    for folder in moved:
        logger.warning("%s was moved here from %s; its runs' files are now expected in %s.", path, folder, ARTIFACTS)


def _find_moved(path: Path, connection: sqlite3.Connection) -> list[Path]:
    """Return the folders from which the store was moved, derived from the artifact locations of its experiments."""
    rows = connection.execute("SELECT DISTINCT artifact_location FROM experiments")
    folders = {_to_path(location).parent for (location,) in rows if _to_path(location).name == ARTIFACTS}
    return sorted(folder for folder in folders if _is_former(folder, path.parent))


def _is_former(folder: Path, now: Path) -> bool:
    """Return whether the store in `now` was moved there from `folder` together with its artifacts."""
    if folder == now or not folder.is_absolute():
        return False
    with contextlib.suppress(OSError):
        if folder.samefile(now):  # the same folder through a link
            return False
    with contextlib.suppress(OSError):  # no permission to read a parent folder
        if (folder / ARTIFACTS).exists():
            # A database that was copied without its artifacts keeps the locations of the original artifacts.
            return (now / ARTIFACTS).is_dir()
    return True


def _to_path(location: str) -> Path:
    """Convert a location, which is a path or a file URI, to a path; an empty path for other URIs."""
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


def find_sqlite_reason(error: Exception) -> str | None:
    """Extract SQLite's message from an error of its driver, SQLAlchemy or MLflow; None for any other error."""
    if isinstance(error, sqlite3.Error):
        return str(error)
    found = _SQLALCHEMY.search(str(error))
    return found[1] if found else None


def describe_sqlite_error(path: Path, reason: str) -> str:
    """Format a message with the file, the reason and the fix."""
    return f"{path}: SQLite cannot use this MLflow store: {reason}. {_ADVICE.get(reason, f'Fix this, {_AGAIN}')}"
