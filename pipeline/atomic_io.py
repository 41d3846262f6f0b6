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


def to_json(content: Any) -> str:
    """Format JSON with one key per line in a stable order; NaN is refused."""
    if dataclasses.is_dataclass(content) and not isinstance(content, type):
        content = dataclasses.asdict(content)
    return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


@contextlib.contextmanager
def add_file_name(path: Path) -> Iterator[None]:
    """Add the name of the file to an `OSError` that has none, such as that of a full disk."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = str(path)
        raise


@contextlib.contextmanager
def atomic_directory(target: Path) -> Iterator[Path]:
    """Yield a new folder that replaces `target` when the block succeeds; otherwise nothing changes.

    The folder is not written in place, because DVC's cache may be linked into the workspace, and a killed stage must
    not leave incomplete outputs. Files are synced to the disk first. Leftovers of killed processes are removed.
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
    """Write a file under another name, then rename it, so that a reader sees the old or the new text, never a part."""
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: Path, *parts: bytes | memoryview) -> None:
    """Write the concatenated parts as `write_text` does."""
    with atomic_file(path) as file:
        for part in parts:
            file.write(part)


@contextlib.contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """Yield a new file that replaces `path` when the block succeeds; otherwise nothing changes."""
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
    """Write the output of `save` as `write_text` does; buffered, since encoders hide errors such as a full disk."""
    buffer = io.BytesIO()
    save(buffer)
    write_bytes(path, buffer.getbuffer())


def remove_leftovers(target: Path) -> None:
    """Remove what killed processes have left beside a file or folder that they were writing."""
    for path in target.parent.glob(f".{glob.escape(target.name)}-*-*"):
        process = path.name.split("-")[-2]
        if process.isdecimal() and not _is_alive(process):  # not a user's own hidden file
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def _create_sibling(target: Path) -> Path:
    """Create a folder beside the target, on the same disk, with the id of this process in its name."""
    return Path(tempfile.mkdtemp(prefix=f".{target.name}-{os.getpid()}-", dir=target.parent))


def _is_alive(process: str) -> bool:
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # a process of another user
        return True
    return True


def _sync(folder: Path) -> None:
    """Sync a folder's files to the disk."""
    for path in (*folder.rglob("*"), folder):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
