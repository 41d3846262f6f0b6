"""State of a run in training, which its process reports after every epoch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipeline.artifacts.run_folder import Precision

if TYPE_CHECKING:
    from pipeline.runtime.progress import EpochProgress


@dataclass(frozen=True)
class TrainingState:
    """State of a run in training, small enough to be sent to another process after every epoch."""

    run: str
    key: str
    cell: Mapping[str, Any]  # pipeline.params.Cell as JSON
    precision: Precision
    data_fingerprint: str
    began_ms: int  # milliseconds since 1970, like `ended_ms`
    history: tuple[Mapping[str, float | int | str], ...] = ()  # rows of `history.csv`, from the first epoch
    ended_ms: tuple[int, ...] = ()  # end of each epoch
    progress: EpochProgress | None = None  # the epoch that has just ended; None at the start and after an error
    has_failed: bool = False
