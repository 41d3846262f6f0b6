"""Values that a tool logged for a run, and the loss curves read from them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from pipeline.analysis.curves import LossCurves


class LoggedValue(NamedTuple):
    """A value of a metric as logged. Numbers may be strings, because most metrics are not needed and never parsed."""

    value: object
    location: str  # file and line, for messages
    epoch: object = None  # number of the epoch, may be fractional; None if unknown
    step: object = None  # number of optimizer steps, or another counter; None if unknown
    time: object = None  # in any unit; None if unknown


@dataclass
class LoggedRun:
    """Metrics of a run as logged, in the order of the log."""

    name: str
    metrics: dict[str, list[LoggedValue]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)  # sentences about values that were changed or left out

    def add(self, metric: str, value: LoggedValue) -> None:
        """Add a value of a metric."""
        self.metrics.setdefault(metric, []).append(value)


@dataclass(frozen=True)
class RunCurves:
    """Loss curves of one run, read from a file."""

    name: str  # the run name, or the file name if the file does not name the run
    curves: LossCurves  # only epochs that have both losses
    notes: tuple[str, ...]  # sentences about guesses, omitted epochs and averaged values
    part: str = ""  # name of the part of the loss, such as box_loss; empty for the whole loss

    @property
    def title(self) -> str:
        """Name of the run, and of the part of the loss."""
        return f"{self.name}, {self.part}" if self.part else self.name


@dataclass(frozen=True)
class LogFolder:
    """A folder of log files."""

    path: Path
    files: tuple[Path, ...]  # all files in it and its subfolders, sorted
