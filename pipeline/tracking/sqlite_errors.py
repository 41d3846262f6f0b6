"""Errors of the SQLite file that MLflow's store is, in a sentence instead of SQLAlchemy's statements and traces."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path

_SQLALCHEMY = re.compile(r"\(sqlite3\.\w+\) ([^\n]+)")  # its message, in front of the statement
_AGAIN = "then run the same command again."
_ADVICE = {
    "database or disk is full": f"Free some space, {_AGAIN}",
    "disk I/O error": f"Check the disk for free space, limits and faults, {_AGAIN}",
    "attempt to write a readonly database": f"Make the file and its folder writable, {_AGAIN}",
    "database is locked": "Another program is writing to it; run the same command again when that has ended.",
}


def sqlite_reason(error: Exception) -> str | None:
    """Extract SQLite's own words from an error of its driver, SQLAlchemy or MLflow; None for any other error."""
    if isinstance(error, sqlite3.Error):
        return str(error)
    found = _SQLALCHEMY.search(str(error))
    return found[1] if found else None


def describe_sqlite_error(path: Path, reason: str) -> str:
    """Name the file, the reason and what to do."""
    return f"{path}: SQLite cannot use this MLflow store: {reason}. {_ADVICE.get(reason, f'Fix this, {_AGAIN}')}"
