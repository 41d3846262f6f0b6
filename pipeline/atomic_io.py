"""Write files and folders atomically, and format JSON."""

from __future__ import annotations

import contextlib
import dataclasses
import glob
import io
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from pipeline.errors import PipelineError
from pipeline.runtime.operating_system import is_alive, sync_to_disk


def to_json(content: Any) -> str:
    """Format a value or a dataclass as JSON with one key per line; raise `ValueError` if it contains NaN."""
    if dataclasses.is_dataclass(content) and not isinstance(content, type):
        content = dataclasses.asdict(content)
    return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


@contextlib.contextmanager
def add_file_name(path: Path) -> Iterator[None]:
    """Add the file name to an `OSError` that the block raises without one, for example when the disk is full."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = str(path)
        raise


def require_writable(folder: Path, option: str) -> None:
    """Create a folder, and check that files can be written to it, before a long computation.

    Raises:
        PipelineError: They cannot. The message starts with `option`, which names the folder.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise PipelineError(f"{option}: {folder} is not writable ({reason}). Choose another folder.") from None


@contextlib.contextmanager
def atomic_directory(target: Path) -> Iterator[Path]:
    """Yield a new folder that replaces `target` if the block succeeds; otherwise nothing changes.

    `target` is not written in place, because its files may be links to DVC's cache, and because a killed stage must not
    leave incomplete outputs. The new files are synced to disk first. Temporary folders of killed processes are removed.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(target)
    new = _create_sibling(target)
    try:
        with add_file_name(target):
            new.chmod(0o755)
            yield new
            _sync(new)
            if target.exists():
                old = _create_sibling(target)
                target.rename(old / target.name)
                try:
                    new.rename(target)
                except BaseException:
                    (old / target.name).rename(target)
                    raise
                finally:
                    shutil.rmtree(old)
            else:
                new.rename(target)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically, so that a reader sees either the old or the new text."""
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: Path, *parts: bytes | memoryview) -> None:
    """Write the concatenated parts to a file atomically."""
    with atomic_file(path) as file:
        for part in parts:
            file.write(part)


@contextlib.contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """Yield a new file that replaces `path` if the block succeeds; otherwise nothing changes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}-{os.getpid()}-", dir=path.parent)
    try:
        os.close(handle)
        with add_file_name(path), Path(name).open("w+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def write_with(path: Path, save: Callable[[BinaryIO], object]) -> None:
    """Write the output of `save` to a file atomically; it is buffered, since image encoders hide disk errors."""
    buffer = io.BytesIO()
    save(buffer)
    write_bytes(path, buffer.getbuffer())


def remove_leftovers(target: Path) -> None:
    """Remove the temporary files and folders of killed processes that were writing `target`."""
    for path in target.parent.glob(f".{glob.escape(target.name)}-*-*"):
        process = path.name.split("-")[-2]
        if process.isdecimal() and not is_alive(int(process)):  # not a user's own hidden file
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def _create_sibling(target: Path) -> Path:
    """Create a temporary folder in the parent folder of `target`, with the id of this process in its name."""
    return Path(tempfile.mkdtemp(prefix=f".{target.name}-{os.getpid()}-", dir=target.parent))


def _sync(folder: Path) -> None:
    """Sync all files in a folder to disk."""
    for path in (*folder.rglob("*"), folder):
        sync_to_disk(path)
