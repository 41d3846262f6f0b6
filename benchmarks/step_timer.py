"""Measure the throughput of training steps after the first one."""

from __future__ import annotations

import time

MIN_SECONDS = 4.0
MIN_STEPS = 2


class StepTimer:
    """Timer that records the end of each step. The first step is warm-up."""

    def __init__(self) -> None:
        self._ends: list[float] = []

    def record_step(self) -> bool:
        """Record the end of a step; return whether the measurement is complete."""
        self._ends.append(time.perf_counter())
        return len(self._ends) > MIN_STEPS and self._ends[-1] - self._ends[0] >= MIN_SECONDS

    def compute_images_per_second(self, batch_size: int) -> float:
        """Return the throughput of all steps after the first."""
        return batch_size * (len(self._ends) - 1) / (self._ends[-1] - self._ends[0])
