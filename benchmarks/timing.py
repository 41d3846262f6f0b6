"""Measure the total time spent in methods of a class."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any


class MethodTimer:
    """Timer of all calls of some methods of a class; it replaces the methods by timed ones.

    Attributes:
        seconds: Total duration of all calls.
    """

    def __init__(self, owner: type, *names: str) -> None:
        self.seconds = 0.0
        for name in names:
            setattr(owner, name, self._wrap(getattr(owner, name)))

    def _wrap(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            start = time.perf_counter()
            try:
                return method(*args, **kwargs)
            finally:
                self.seconds += time.perf_counter() - start

        return call
