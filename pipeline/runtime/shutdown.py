"""Shut down on SIGINT, SIGTERM and SIGHUP, at points where nothing is left half done.

An exception that a signal handler raises can surface inside an import, while Python holds the import lock, or between
acquiring a lock and releasing it; another thread then waits for that lock forever. So the handler only records the
signal, and `check_signals` raises where the work can stop: between steps, batches, runs and polls. Whatever fails to
get there in time is ended by the operating system.
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

if TYPE_CHECKING:  # the command line imports this module, and must start fast
    from filelock import FileLock

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
GRACE_SECONDS = 14  # from the signal until the operating system ends the process
_POLL_SECONDS = 0.2
_STDERR = 2
_SHOW_CURSOR = b"\x1b[?25h"  # progress bars hide it


@dataclass
class _State:
    """The signal that this process received; one per process, as there is one handler per signal."""

    received: int | None = None
    is_raised: bool = False
    is_graceful: bool = False  # whether the first Ctrl-C only asks
    is_asked: bool = False

    def record(self, number: int, _: FrameType | None) -> None:
        if number == signal.SIGINT and self.is_graceful and not self.is_asked:
            self.is_asked = True
        elif number == signal.SIGINT == self.received:
            _exit_now(number)  # the second Ctrl-C does not wait
        elif self.received is None:
            self.received = number
            _limit_remaining_time()


_state = _State()


def defer_signals() -> None:
    """Record signals from now on, for `check_signals` to raise; a second Ctrl-C exits at once.

    What the process ignores, as a background job ignores Ctrl-C and `nohup` a closed terminal, it continues to ignore.
    """
    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _state.record)


def check_signals() -> None:
    """Raise `KeyboardInterrupt` or `SystemExit` in the main thread if a signal arrived.

    Only once, so that cleaning up is not cut off.
    """
    is_main = threading.current_thread() is threading.main_thread()
    if _state.received is not None and not _state.is_raised and is_main:
        _state.is_raised = True
        _raise(_state.received)


def is_stopping() -> bool:
    """Return whether a signal arrived: waits must come to an end."""
    return _state.received is not None


def sleep(seconds: float) -> None:
    """Sleep, unless a signal arrives, which is raised."""
    deadline = time.monotonic() + seconds
    while (rest := deadline - time.monotonic()) > 0:
        check_signals()
        time.sleep(min(rest, _POLL_SECONDS))


@contextlib.contextmanager
def hold(lock: FileLock) -> Iterator[None]:
    """Hold a lock for a block; a signal ends the wait for it."""
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
    """Raise `SystemExit` wherever SIGTERM arrives, as Ctrl-C raises `KeyboardInterrupt`: temporary files are removed.

    For commands without threads and without a connection to a database, which may stop anywhere.
    """
    signal.signal(signal.SIGTERM, _raise_in_place)


@contextlib.contextmanager
def graceful_interrupt() -> Iterator[Callable[[], bool]]:
    """Let the first Ctrl-C within a block only ask to stop; yields a function that returns whether it did.

    Needs `defer_signals`.
    """
    _state.is_graceful, _state.is_asked = True, False
    try:
        yield lambda: _state.is_asked
    finally:
        _state.is_graceful = False


def _raise_in_place(number: int, _: FrameType | None) -> None:
    _limit_remaining_time()
    _raise(number)


def _raise(number: int) -> None:
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    sys.exit(128 + number)


def _limit_remaining_time() -> None:
    """Have the operating system end this process, even if it is stuck in a call that runs no Python code."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, GRACE_SECONDS)


def _exit_now(number: int) -> None:
    if os.isatty(_STDERR):
        os.write(_STDERR, _SHOW_CURSOR)
    os._exit(128 + number)
