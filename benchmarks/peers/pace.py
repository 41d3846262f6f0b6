"""How fast steps follow each other, once the first is over."""

from __future__ import annotations

import time

SECONDS = 4.0  # of steps that are counted
STEPS = 2  # that are counted at least


class Pace:
    """Told of the end of each step; the first is warm-up."""

    def __init__(self) -> None:
        self._ends: list[float] = []

    def step(self) -> bool:
        """Note that a step has ended; whether there were enough."""
        self._ends.append(time.perf_counter())
        return len(self._ends) > STEPS and self._ends[-1] - self._ends[0] >= SECONDS

    def images_per_second(self, batch: int) -> float:
        """Over all steps but the first."""
        return batch * (len(self._ends) - 1) / (self._ends[-1] - self._ends[0])
