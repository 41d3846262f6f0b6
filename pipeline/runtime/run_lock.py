"""Runs that were begun and are not complete: a folder each, by run key, with its lock and its checkpoints.

They lie in the scratch folder of the project, also for its studies and for what DVC runs in a temporary copy: equal
keys mean equal weights, so whoever trains the same goes on from them.
"""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from pipeline import runs
from pipeline.atomic_io import write_text
from pipeline.errors import PipelineError
from pipeline.project import project_root
from pipeline.runtime.process import describe_process
from pipeline.runtime.shutdown import check_signals, is_stopping

FOLDER = runs.SCRATCH / "unfinished"
PATIENCE = 60  # seconds: a process that is shutting down may still upload to MLflow
KEPT = 30 * 24 * 3600  # seconds: parameters that nobody came back to for so long are not waited for

_LOCK = "lock"
_HOLDER = "holder"  # which process has the lock


class Unfinished:
    """The folder of one run key; whatever the process that works in it leaves there, the next one finds."""

    def __init__(self, key: str, root: Path = Path()) -> None:
        self.key = key
        self.folder = project_root(root) / FOLDER / key

    @contextlib.contextmanager
    def at_work(self) -> Iterator[None]:
        """Hold the run's lock for a block that trains it.

        Raises:
            PipelineError: Another process trains the same run, and still did so after `PATIENCE` seconds.
        """
        with self._locked(PATIENCE) as held:
            if not held:
                check_signals()
                raise PipelineError(
                    f"Another process trains exactly this ({self._holder()}). Wait until it ends, or stop it, and run "
                    "the same command again."
                )
            write_text(self.folder / _HOLDER, describe_process())
            yield

    def _holder(self) -> str:
        try:
            return (self.folder / _HOLDER).read_text(encoding="utf-8")
        except FileNotFoundError:  # it has just begun, or is about to end
            return f"it holds {self.folder / _LOCK}"

    def is_old(self) -> bool:
        """Return whether the run was not continued for a long time."""
        try:
            return time.time() - self.folder.stat().st_mtime > KEPT
        except FileNotFoundError:  # it was just completed
            return False

    def forget(self) -> None:
        """Remove the folder: the run is complete."""
        shutil.rmtree(self.folder, ignore_errors=True)

    @contextlib.contextmanager
    def _locked(self, patience: float) -> Iterator[bool]:
        """Whether the folder's lock could be had; who held it before may have removed the folder with it."""
        deadline = time.monotonic() + patience
        lock = FileLock(self.folder / _LOCK)
        while not lock.is_locked:
            self.folder.mkdir(parents=True, exist_ok=True)
            try:
                lock.acquire(timeout=max(0, deadline - time.monotonic()), cancel_check=is_stopping)
            except FileNotFoundError:
                continue
            except Timeout:
                yield False
                return
            if not (self.folder / _LOCK).exists():
                lock.release()
        try:
            yield True
        finally:
            lock.release()


def unfinished(root: Path = Path()) -> list[Unfinished]:
    """All there are; those that nobody came back to for long are removed."""
    found = [Unfinished(folder.name, root) for folder in sorted((project_root(root) / FOLDER).glob("*"))]
    for run in found:
        if run.is_old():
            run.forget()
    return [run for run in found if run.folder.exists()]
