"""Locks on sweeps, stages and runs, which the operating system releases when the process that holds them ends."""

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

UNFINISHED = CACHE / "unfinished"  # one folder per run key, with the run's lock and checkpoints
EXTENDABLE = CACHE / "extendable"  # one folder per extension key, with the last checkpoint of a finished run
WAIT_SECONDS = 60  # for the lock of a run, since a process that is stopping may still upload epochs to MLflow
EXPIRY_SECONDS = 30 * 24 * 3600  # age at which unused checkpoints are removed


class WorkLock:
    """Lock file that one process holds while it works; its content describes the last holder."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @contextlib.contextmanager
    def hold(self, work: str, wait_seconds: float = 0) -> Iterator[None]:
        """Hold the lock for a block.

        Raises:
            PipelineError: Another process holds the lock. `work` is the subject of the message, as in "Another sweep".
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
        """Return whether a process holds the lock; true if this cannot be determined."""
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
            except FileNotFoundError:  # the last holder has just removed the folder
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
    """Folder with the lock and the checkpoints of an incomplete run.

    The folder is always in the cache of the project itself. Therefore, a run with the same key in a study, or in a
    temporary copy made by DVC, resumes from the same checkpoints.
    """

    def __init__(self, key: str, root: Path = Path()) -> None:
        self.key = key
        self.folder = Project(root).original_home / UNFINISHED / key
        self._lock = WorkLock(self.folder / "lock")

    def hold(self) -> contextlib.AbstractContextManager[None]:
        """Hold the lock for a block that trains the run.

        Raises:
            PipelineError: Another process still trains the same run after `WAIT_SECONDS`.
        """
        return self._lock.hold("Another training process for this run", WAIT_SECONDS)

    def remove(self) -> None:
        """Remove the folder of a run that is complete, unless another process trains it."""
        if self.folder.exists():
            with self._lock.try_hold() as is_held:
                if is_held:
                    shutil.rmtree(self.folder, ignore_errors=True)


def list_unfinished(root: Path = Path()) -> list[RunLock]:
    """Remove the folders of unfinished runs that have expired, and return the others."""
    found = [RunLock(folder.name, root) for folder in sorted((Project(root).original_home / UNFINISHED).glob("*"))]
    for run in found:
        with contextlib.suppress(FileNotFoundError):  # another process has just completed it
            if time.time() - run.folder.stat().st_mtime > EXPIRY_SECONDS:
                run.remove()
    return [run for run in found if run.folder.exists()]
