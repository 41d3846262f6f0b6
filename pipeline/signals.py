"""Being told to end, as an exception that whatever is under way can answer, except where it must not be cut off."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass


@dataclass
class _Process:
    """What signals told this process; there is one, as there is one handler for a signal."""

    told: int | None = None
    uncut: int = 0  # blocks of `uncut` that are open
    put_off: bool = False
    asks: bool = False  # whether the first Ctrl-C only asks
    asked: bool = False

    def leave(self, number: int, _: object) -> None:
        if number == signal.SIGINT and self.asks and not self.asked:
            self.asked = True
            return
        insists = self.told == number == signal.SIGINT
        self.told = number
        if self.uncut and not insists:
            self.put_off = True
        else:
            self.check()

    def check(self) -> None:
        if self.told == signal.SIGINT:
            raise KeyboardInterrupt
        if self.told is not None:
            sys.exit(128 + self.told)


_process = _Process()


def exit_when_told() -> Callable[[], None]:
    """End by SystemExit on SIGTERM, so that what is under way is told: MLflow of its run, workers of their end.

    Ctrl-C stays Python's KeyboardInterrupt; it too waits for a block of `uncut` now, unless it is pressed twice.

    Returns:
        A check that ends likewise where a signal came before. Python drops an exception that is raised while a
        finaliser or a callback runs, so what works for long asks again now and then.
    """
    signal.signal(signal.SIGTERM, _process.leave)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # a shell's background job ignores Ctrl-C
        signal.signal(signal.SIGINT, _process.leave)
    return _process.check


@contextlib.contextmanager
def uncut() -> Iterator[None]:
    """A block that a signal ends only behind its last line.

    A database driver that is left in the middle keeps its transaction, and with it everybody's lock, open. Python lets
    signals end the main thread only, so that any other is uncut already.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _process.uncut += 1
    try:
        yield
    finally:
        _process.uncut -= 1
        if _process.put_off and not _process.uncut:
            _process.put_off = False
            _process.check()


@contextlib.contextmanager
def asked_first() -> Iterator[Callable[[], bool]]:
    """A block in which Ctrl-C once only asks, and twice is what it is elsewhere; gives who says whether it asked.

    Counts where `exit_when_told` was called before.
    """
    _process.asks, _process.asked = True, False
    try:
        yield lambda: _process.asked
    finally:
        _process.asks = False
