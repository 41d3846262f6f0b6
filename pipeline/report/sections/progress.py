"""The progress of a sweep, at the top of a report that grows while runs train."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class SweepProgress:
    """Progress of a sweep."""

    complete: int  # number of runs that the page shows
    running: tuple[str, ...]  # names of the runs in training, with their epochs and losses
    waiting: tuple[str, ...]  # names of the runs that have not started
    failed: tuple[str, ...]
    time: str  # local time at which the page was rendered
    is_stopped: bool  # whether the sweep ended before its last run

    @property
    def total(self) -> int:
        """Number of runs of the grid."""
        return self.complete + len(self.running) + len(self.waiting) + len(self.failed)
