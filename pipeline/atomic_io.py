"""Files written whole or not at all, and JSON as the stages write it."""

from __future__ import annotations

import contextlib
import dataclasses
import glob
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def as_json(content: Any) -> str:
    """Format JSON as the stages write it: stable order of keys, one per line, NaN refused."""
    if dataclasses.is_dataclass(content) and not isinstance(content, type):
        content = dataclasses.asdict(content)
    return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Name the file in an `OSError` that names none, as the one of a full disk."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = str(path)
        raise


@contextlib.contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """A new folder to write into, put in the place of `target` when the block ends well; else nothing is changed.

    Never written in place: DVC's cache may be linked into the workspace, and a killed stage must leave no half output.
    What is put there is on the disk, not only on its way to it; what killed processes left behind is removed.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    for folder in target.parent.glob(f".{glob.escape(target.name)}-*-*"):
        if not _is_alive(folder.name.split("-")[-2]):
            shutil.rmtree(folder, ignore_errors=True)
    new = _beside(target)
    try:
        with naming(target):
            new.chmod(0o755)
            yield new
            _sync(new)
            if target.exists():
                old = _beside(target)
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
    """Write a file under another name, then rename it: a reader sees the old text or the new, never half of it."""
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: Path, *parts: bytes | memoryview) -> None:
    """Write the parts one after the other, as `write_text` does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    try:
        with naming(path), os.fdopen(handle, "wb") as file:
            for part in parts:
                file.write(part)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _beside(target: Path) -> Path:
    """A new folder beside the target, on the same disk; its name says which process writes it."""
    return Path(tempfile.mkdtemp(prefix=f".{target.name}-{os.getpid()}-", dir=target.parent))


def _is_alive(process: str) -> bool:
    try:
        os.kill(int(process), 0)
    except (ValueError, ProcessLookupError):
        return False
    except PermissionError:  # somebody else's
        return True
    return True


def _sync(folder: Path) -> None:
    """Have the system write a folder's files to the disk."""
    for path in (*folder.rglob("*"), folder):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
