"""Measure the throughput of training steps after the first ones."""

from __future__ import annotations

import time
from collections.abc import Callable

MIN_SECONDS = 4.0
MIN_STEPS = 2


class StepTimer:
    """Timer of steps.

    Args:
        min_seconds: Minimum duration of the measurement.
        warmup_steps: Number of steps before the measurement starts, at least 1.
        synchronize: Waits until the recorded steps are complete. It is called only where the measurement starts and
            ends, because a GPU is faster if it need not wait for the next step.
    """

    def __init__(
        self, min_seconds: float = MIN_SECONDS, warmup_steps: int = 1, synchronize: Callable[[], None] = lambda: None
    ) -> None:
        self._min_seconds, self._synchronize = min_seconds, synchronize
        self._count, self._start, self._end = -warmup_steps, 0.0, 0.0

    def record_step(self) -> bool:
        """Record the end of a step; return whether the measurement is complete."""
        self._count += 1
        if self._count == 0:
            self._synchronize()
            self._start = time.perf_counter()
        if self._count < MIN_STEPS or time.perf_counter() - self._start < self._min_seconds:
            return False
        self._synchronize()
        self._end = time.perf_counter()
        return True

    def compute_images_per_second(self, batch_size: int) -> float:
        """Return the throughput of a complete measurement."""
        return batch_size * self._count / (self._end - self._start)
