"""Log a run to MLflow in a background thread, so that a slow server never delays training."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from pipeline.params import Tracking
from pipeline.runtime.shutdown import check_signals, is_stopping
from pipeline.tracking.mirror import End, Mirror
from pipeline.tracking.system_metrics import SystemMetrics

END_SECONDS = 7  # after a signal, for MLflow to learn the end of the run
_POLL_SECONDS = 0.1

Action = Callable[[Mirror], None]


class BackgroundLogger:
    """Has the methods of a `Mirror`; each returns at once, and the thread logs in the order of the calls."""

    def __init__(self, open_mirror: Callable[[], Mirror]) -> None:
        self._open_mirror = open_mirror
        # SimpleQueue and a daemon thread: neither holds a lock that an interrupt could leave locked, and a call to
        # MLflow that never returns does not keep the process alive.
        self._actions: SimpleQueue[Action | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="mlflow", daemon=True)
        self._is_cut_short = threading.Event()
        self._error: Exception | None = None
        self._status: End = "FAILED"
        self._has_ended = False
        self._system = SystemMetrics()
        self._thread.start()

    def log_epoch(self, epoch: int, values: Mapping[str, float], timestamp_ms: int) -> None:
        """See `Mirror.log_epoch`."""
        self._actions.put(lambda mirror: mirror.log_epoch(epoch, values, timestamp_ms))

    def log_folder(self, folder: Path, under: str) -> None:
        """See `Mirror.log_folder`; the folder must not change until the run has ended."""
        self._actions.put(lambda mirror: mirror.log_folder(folder, under))

    def log_dataset(self, title: str, source: str, digest: str) -> None:
        """See `Mirror.log_dataset`."""
        self._actions.put(lambda mirror: mirror.log_dataset(title, source, digest))

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """See `Mirror.set_tags`."""
        self._actions.put(lambda mirror: mirror.set_tags(tags))

    def end(self, status: End) -> bool:
        """Log how the run ended, and wait until the thread is done.

        After a signal the wait takes `END_SECONDS` at most, the run is KILLED, and points that are not logged yet are
        left out; the resumed training logs them.

        Returns:
            Whether MLflow knows that the run ended.

        Raises:
            Exception: A bug in this package that appeared in the thread; a `Mirror` handles the errors of the store.
        """
        self._status = status
        self._actions.put(None)
        deadline: float | None = None
        while self._thread.is_alive() and (deadline is None or time.monotonic() < deadline):
            self._thread.join(_POLL_SECONDS)
            if is_stopping() and deadline is None:
                self._status = "KILLED"
                self._is_cut_short.set()
                deadline = time.monotonic() + END_SECONDS
        if self._error is not None:
            raise self._error
        return self._has_ended

    def _work(self) -> None:
        try:
            mirror = self._open_mirror()
        except Exception as error:
            self._error = error
            return
        self._system.follow(mirror.run_id, mirror.uri)
        while (action := self._actions.get()) is not None:
            if self._is_cut_short.is_set():
                continue
            try:
                action(mirror)
            except Exception as error:
                self._error = self._error or error
            # Each time: the store may answer late, and another MLflow run may have replaced this one.
            self._system.follow(mirror.run_id, mirror.uri)
        self._system.stop()
        self._has_ended = mirror.end(self._status)


@contextlib.contextmanager
def log_in_background(
    tracking: Tracking,
    *,
    name: str,
    key: str,
    parameters: Mapping[str, Any],
    tags: Mapping[str, str],
    when_ended: Callable[[], None] = lambda: None,
) -> Iterator[BackgroundLogger]:
    """Log a run for the duration of a block, which ends it as FINISHED, KILLED (by a signal) or FAILED.

    A signal that arrives before everything is logged is raised when the block ends.

    Args:
        tracking: where to log.
        name: of the run.
        key: the run key, by which MLflow's run is found again.
        parameters: see `Mirror.open`.
        tags: likewise.
        when_ended: called once MLflow knows that the run ended.
    """
    status: End = "FAILED"
    logger = BackgroundLogger(
        lambda: Mirror.open(tracking=tracking, name=name, key=key, parameters=parameters, tags=tags)
    )
    try:
        yield logger
        check_signals()
        status = "FINISHED"
    except (KeyboardInterrupt, SystemExit):
        status = "KILLED"
        raise
    finally:
        if logger.end(status):
            when_ended()
    check_signals()
