"""Find the folder of a data set: the folder that `data.path` names, or one into which an archive is unpacked."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import sys
import time
from functools import lru_cache
from pathlib import Path

from filelock import FileLock

from pipeline.artifacts.project import CACHE
from pipeline.errors import PipelineError
from pipeline.prepare.archives import unpack
from pipeline.prepare.decoded_pair import DAY_SECONDS, MAX_AGE_DAYS
from pipeline.prepare.image_tables.column_reader import ARROW, PARQUET

UNPACKED = CACHE / "unpacked"
MAX_FILES = 500_000
# An archive of images and masks is rarely less than a tenth of its content. The limits concern only archives that
# consist of nothing but repetitions.
MAX_RATIO = 100  # bytes of the content per byte of the archive
ALWAYS_BYTES = 1_000_000_000  # of the content, which small archives may have in any case
_MAX_STEM, _DIGITS = 100, 16  # characters of the archive's name and of its hash, in the name of a folder
_MAX_DEPTH = 3  # folders that contain only another folder


def open_data_folder(path: Path, key: str) -> Path:
    """Return a folder, or the folder with the content of a zip or tar archive.

    An archive is unpacked once into the cache, under a name with the hash of its content: compressed tar archives have
    no random access, and everything that reads images, annotations and volumes works with files. If everything in the
    archive is in one folder, that folder is returned.

    Args:
        path: Path of a folder or an archive.
        key: Parameter or command that names the path, for messages.

    Raises:
        PipelineError: Nothing has this path, or the archive cannot be unpacked.
    """
    if path.is_dir():
        return path
    if not path.exists():
        raise PipelineError(
            f"{key}: the folder {path} does not exist. Give the folder of the images, or a zip or tar archive of it."
        )
    if not path.is_file():
        raise PipelineError(f"{key}: {path} is neither a folder nor a file. Give the folder of the images.")
    if path.suffix.lower() in (PARQUET, ARROW):
        raise PipelineError(f"{key}: {path} is a file. Give the folder that contains it.")
    state = path.stat()
    digest = _hash_file(path.absolute(), state.st_size, state.st_mtime_ns)
    folder = UNPACKED / f"{path.stem[:_MAX_STEM]}-{digest[:_DIGITS]}"
    UNPACKED.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):  # another command may be unpacking the same archive
        if not folder.is_dir():
            print(f"{path}: unpacking into {UNPACKED}", file=sys.stderr)  # noqa: T201
            unpack(path, folder, max_bytes=max(ALWAYS_BYTES, MAX_RATIO * state.st_size), max_files=MAX_FILES)
    with contextlib.suppress(OSError):
        os.utime(folder)  # record the last use
    _remove_old()
    return _find_top(folder)


@lru_cache
def _hash_file(path: Path, _size: int, _modified: int) -> str:
    """Compute the SHA-256 of a file, once per command unless its size or time changes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _find_top(folder: Path) -> Path:
    """Return the folder that contains everything in an archive."""
    for _ in range(_MAX_DEPTH):
        content = list(folder.iterdir())
        if len(content) != 1 or not content[0].is_dir():
            break
        folder = content[0]
    return folder


def _remove_old() -> None:
    """Remove unpacked archives that have not been used for `MAX_AGE_DAYS` days."""
    oldest = time.time() - MAX_AGE_DAYS * DAY_SECONDS
    for folder in filter(Path.is_dir, UNPACKED.iterdir()):
        with contextlib.suppress(OSError):  # another process may remove it too
            if folder.stat().st_mtime < oldest:
                shutil.rmtree(folder)
