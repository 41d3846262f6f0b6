"""Handle SIGINT, SIGTERM and SIGHUP at points where the work can be stopped safely.

An exception raised by a signal handler can surface anywhere, for example during an import or between acquiring and
releasing a lock, and another thread then waits for the lock forever. Therefore, the handler only records the signal,
and `check_signals` raises the exception between steps, batches, runs and polls. If the process does not end within
`GRACE_SECONDS`, the operating system ends it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import FrameType
from typing import TYPE_CHECKING

from pipeline.runtime.operating_system import STOP_SIGNALS, limit_remaining_time

if TYPE_CHECKING:  # not imported at run time, so that the command line starts fast
    from filelock import FileLock

GRACE_SECONDS = 14  # from the signal until the operating system ends the process
_POLL_SECONDS = 0.2
_STDERR = 2
_SHOW_CURSOR = b"\x1b[?25h"  # progress bars hide it


@dataclass
class _State:
    """The signal that this process has received, and how it is handled."""

    received: int | None = None
    is_raised: bool = False
    is_graceful: bool = False  # whether the first Ctrl-C only requests a stop
    is_asked: bool = False  # whether a stop was requested

    def record(self, number: int, _: FrameType | None) -> None:
        if number == signal.SIGINT and self.is_graceful and not self.is_asked:
            self.is_asked = True
        elif number == signal.SIGINT == self.received:
            _exit_now(number)  # on another Ctrl-C, without waiting for `check_signals`
        elif self.received is None:
            self.received = number
            limit_remaining_time(GRACE_SECONDS)


_state = _State()


def defer_signals() -> None:
    """Make this process record signals until `check_signals` raises them; a second Ctrl-C exits at once.

    Signals that the process ignores remain ignored, such as SIGINT in a background job, or SIGHUP with `nohup`.
    """
    for number in STOP_SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _state.record)


def check_signals() -> None:
    """Raise `KeyboardInterrupt` or `SystemExit` in the main thread if a signal was received.

    The exception is raised only once, so that it does not interrupt the cleanup.
    """
    is_main = threading.current_thread() is threading.main_thread()
    if _state.received is not None and not _state.is_raised and is_main:
        _state.is_raised = True
        _raise(_state.received)


def is_stopping() -> bool:
    """Return whether a signal was received, so that the process must stop waiting."""
    return _state.received is not None


def sleep(seconds: float) -> None:
    """Sleep; if a signal is received, raise it as `check_signals` does."""
    deadline = time.monotonic() + seconds
    while (rest := deadline - time.monotonic()) > 0:
        check_signals()
        time.sleep(min(rest, _POLL_SECONDS))


@contextlib.contextmanager
def hold(lock: FileLock) -> Iterator[None]:
    """Hold a lock for a block; if a signal is received while waiting for the lock, raise it as `check_signals` does."""
    from filelock import Timeout

    try:
        lock.acquire(cancel_check=is_stopping)
    except Timeout:
        check_signals()
        raise
    try:
        yield
    finally:
        lock.release()


def exit_on_sigterm() -> None:
    """Make SIGTERM raise `SystemExit` immediately, as Ctrl-C raises `KeyboardInterrupt`, so that cleanup code runs.

    Use this for commands that can stop at any point, because they have no threads and no connection to a database.
    """
    signal.signal(signal.SIGTERM, _raise_in_place)


@contextlib.contextmanager
def graceful_interrupt() -> Iterator[Callable[[], bool]]:
    """Make the first Ctrl-C in a block only request a stop; yield a function that returns whether it was requested.

    `defer_signals` must be called first.
    """
    _state.is_graceful, _state.is_asked = True, False
    try:
        yield lambda: _state.is_asked
    finally:
        _state.is_graceful = False


def _raise_in_place(number: int, _: FrameType | None) -> None:
    limit_remaining_time(GRACE_SECONDS)
    _raise(number)


def _raise(number: int) -> None:
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    sys.exit(128 + number)


def _exit_now(number: int) -> None:
    if os.isatty(_STDERR):
        os.write(_STDERR, _SHOW_CURSOR)
    os._exit(128 + number)
