"""Locks on work in progress: who is working, whether that process is alive, and what it leaves when it is killed.

The operating system releases a lock when the process that holds it dies.
"""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from pipeline.artifacts.project import CACHE, Project
from pipeline.errors import PipelineError
from pipeline.runtime.process import describe_process
from pipeline.runtime.shutdown import check_signals, is_stopping

UNFINISHED = CACHE / "unfinished"  # a folder per run key
EXTENDABLE = CACHE / "extendable"  # a folder per extension key: the last checkpoint of a finished run
WAIT_SECONDS = 60  # for the lock of a run: a process that received a signal may still be sending epochs to MLflow
EXPIRY_SECONDS = 30 * 24 * 3600  # after which the checkpoints of unused parameters are removed


class WorkLock:
    """A file that one process locks while it works; its content describes the process that locked it last."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @contextlib.contextmanager
    def hold(self, work: str, wait_seconds: float = 0) -> Iterator[None]:
        """Hold the lock for a block.

        Raises:
            PipelineError: Another process holds it; `work` is the subject of the message, such as "Another sweep".
        """
        with self.try_hold(wait_seconds) as is_held:
            if not is_held:
                check_signals()
                raise PipelineError(
                    f"{work} is running ({self._describe_holder()}). Wait until it ends, or stop it, and run the same "
                    "command again."
                )
            yield

    @contextlib.contextmanager
    def try_hold(self, wait_seconds: float = 0) -> Iterator[bool]:
        """Hold the lock for a block if it is free; yield whether it is held.

        Raises:
            OSError: The file cannot be written.
        """
        lock = FileLock(self._path)
        if not self._acquire(lock, wait_seconds):
            yield False
            return
        try:
            with contextlib.suppress(OSError):  # a full disk
                self._path.write_text(describe_process(), encoding="utf-8")
            yield True
        finally:
            lock.release()

    def is_held(self) -> bool:
        """Return whether a living process holds the lock; also true if that cannot be determined."""
        lock = FileLock(self._path)
        try:
            if not self._acquire(lock, 0):
                return True
        except OSError:
            return True
        lock.release()
        return False

    def _acquire(self, lock: FileLock, wait_seconds: float) -> bool:
        deadline = time.monotonic() + wait_seconds
        while True:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            try:
                lock.acquire(timeout=max(0, deadline - time.monotonic()), cancel_check=is_stopping)
            except FileNotFoundError:  # the process that held it has just removed the folder
                continue
            except Timeout:
                return False
            return True

    def _describe_holder(self) -> str:
        with contextlib.suppress(FileNotFoundError):
            if text := self._path.read_text(encoding="utf-8"):
                return text
        return f"it holds {self._path}"


class RunLock:
    """The folder of a run that is not complete: its lock and its checkpoints.

    It is in the project's cache folder, also for studies and for DVC's temporary copies: a run with the same key
    resumes from its checkpoints.
    """

    def __init__(self, key: str, root: Path = Path()) -> None:
        self.key = key
        self.folder = Project(root).original_home / UNFINISHED / key
        self._lock = WorkLock(self.folder / "lock")

    def hold(self) -> contextlib.AbstractContextManager[None]:
        """Hold the lock for a block that trains the run.

        Raises:
            PipelineError: Another process trains the same run, and still did so after `WAIT_SECONDS`.
        """
        return self._lock.hold("Another training of exactly this run", WAIT_SECONDS)

    def remove(self) -> None:
        """Remove the folder if no process trains the run: it is complete."""
        if self.folder.exists():
            with self._lock.try_hold() as is_held:
                if is_held:
                    shutil.rmtree(self.folder, ignore_errors=True)


def list_unfinished(root: Path = Path()) -> list[RunLock]:
    """Remove expired unfinished runs, and return the others."""
    found = [RunLock(folder.name, root) for folder in sorted((Project(root).original_home / UNFINISHED).glob("*"))]
    for run in found:
        with contextlib.suppress(FileNotFoundError):  # another process has just completed it
            if time.time() - run.folder.stat().st_mtime > EXPIRY_SECONDS:
                run.remove()
    return [run for run in found if run.folder.exists()]
