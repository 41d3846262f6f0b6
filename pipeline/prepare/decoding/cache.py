"""Decoded pairs of earlier runs: one image added does not decode all others again. It may be removed at will."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import time
import zlib
from collections.abc import Iterable
from functools import reduce
from pathlib import Path
from types import TracebackType

import numpy as np

from pipeline.data.stored import Stored
from pipeline.prepare.decoding.appearance import Appearance
from pipeline.prepare.decoding.decoded import Decoded

KEPT = 30  # days that a pair is kept after it was last used
_DAY = 86_400
_TOGETHER = 32  # pairs written in one transaction, few enough to stay in the processor's cache
_TABLES = """
CREATE TABLE IF NOT EXISTS decoded (
    key TEXT PRIMARY KEY, facts TEXT NOT NULL, image BLOB NOT NULL, mask BLOB NOT NULL, thumbnail BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS used (key TEXT PRIMARY KEY, day INTEGER NOT NULL) WITHOUT ROWID;
"""


class Cache:
    """A file of decoded pairs, read by all processes that decode and written by one."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()

    def find(self, key: str) -> Decoded | None:
        """The pair of a key, None where there is none; a file that is broken holds none."""
        try:
            row = self._connection.execute(
                "SELECT facts, image, mask, thumbnail FROM decoded WHERE key = ?", (key,)
            ).fetchone()
            if row is None:
                return None
            facts = json.loads(row[0])
            if facts.pop("checksum") != _checksum(row[1:]):
                return None
            image = np.frombuffer(row[1], facts.pop("dtype")).reshape(facts.pop("shape"))
            appearance = Appearance(facts.pop("hash"), row[3])
            stored = Stored(**facts.pop("stored"))
            mask = np.frombuffer(row[2], np.uint8).reshape(image.shape[:2])
            return Decoded(image=image, mask=mask, stored=stored, appearance=appearance, **facts)
        except (sqlite3.Error, ValueError, TypeError, KeyError):
            return None


class CacheWriter:
    """The one writer of the cache; what cannot be written, as on a full disk, is only not cached."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._waiting: list[tuple[str, str, bytes, bytes, bytes]] = []
        self._used: list[tuple[str, int]] = []
        self._connection: sqlite3.Connection | None = None
        with contextlib.suppress(OSError, sqlite3.Error):
            self._connection = _opened(path)

    @property
    def reads(self) -> Path | None:
        """The file that `Cache` reads; None where there is none."""
        return self._path if self._connection else None

    def __enter__(self) -> CacheWriter:
        """Begin."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Write what waits, whatever happened: what was decoded is worth keeping; drop what was not used for long."""
        self._write()
        if self._connection is not None:
            with contextlib.suppress(sqlite3.Error), self._connection:
                self._connection.execute("DELETE FROM used WHERE day < ?", (_today() - KEPT,))
                self._connection.execute("DELETE FROM decoded WHERE key NOT IN (SELECT key FROM used)")
            self._connection.close()

    def use(self, key: str) -> None:
        """Note that a pair was used today."""
        self._used.append((key, _today()))

    def add(self, key: str, decoded: Decoded) -> None:
        """Keep a pair."""
        blobs = decoded.image.tobytes(), decoded.mask.tobytes(), decoded.appearance.thumbnail
        facts = {
            "checksum": _checksum(blobs),
            "height": decoded.height,
            "width": decoded.width,
            "sha256": decoded.sha256,
            "image_sha256": decoded.image_sha256,
            "stored": vars(decoded.stored),
            "hash": decoded.appearance.hash,
            "dtype": decoded.image.dtype.str,
            "shape": decoded.image.shape,
        }
        self._waiting.append((key, json.dumps(facts), *blobs))
        self.use(key)
        if len(self._waiting) >= _TOGETHER:
            self._write()

    def _write(self) -> None:
        rows, self._waiting = self._waiting, []
        used, self._used = self._used, []
        if self._connection is None:
            return
        try:
            with self._connection:
                self._connection.executemany("INSERT OR REPLACE INTO decoded VALUES (?, ?, ?, ?, ?)", rows)
                self._connection.executemany("INSERT OR REPLACE INTO used VALUES (?, ?)", used)
        except sqlite3.Error:
            self._connection.close()
            self._connection = None


def _checksum(blobs: Iterable[bytes]) -> int:
    return reduce(lambda found, blob: zlib.crc32(blob, found), blobs, 0)


def _opened(path: Path) -> sqlite3.Connection:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        return _with_tables(path)
    except sqlite3.OperationalError:  # another process writes it
        raise
    except sqlite3.DatabaseError:  # it is none
        for file in path.parent.glob(f"{path.name}*"):
            file.unlink()
        return _with_tables(path)


def _with_tables(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path)
    try:
        connection.execute("PRAGMA page_size = 32768")  # a pair takes 100 kB, which is a chain of many small pages
        connection.execute("PRAGMA journal_mode = WAL")  # so that others read while this one writes
        connection.execute("PRAGMA wal_autocheckpoint = 100")  # pages; so does what is written before it
        connection.execute("PRAGMA synchronous = OFF")  # a power cut may ruin pairs, which their checksums show
        connection.executescript(_TABLES)
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _today() -> int:
    return int(time.time()) // _DAY
