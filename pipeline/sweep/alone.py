"""One sweep a folder: two would train the same cells."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from pipeline import runs
from pipeline.atomic_io import write_text
from pipeline.errors import PipelineError
from pipeline.runtime.process import describe_process

FOLDER = runs.SCRATCH / "sweep"


@contextlib.contextmanager
def alone(root: Path) -> Iterator[None]:
    """A block that no other sweep of the folder works beside; raises `PipelineError` that says who does."""
    folder = root / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    holder, lock = folder / "holder", FileLock(folder / "lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        who = holder.read_text(encoding="utf-8") if holder.exists() else "another process"
        raise PipelineError(
            f"A sweep is at work here already ({who}). Wait for it, or stop it with Ctrl-C where it runs."
        ) from None
    try:
        write_text(holder, describe_process())
        yield
    finally:
        holder.unlink(missing_ok=True)
        lock.release()
