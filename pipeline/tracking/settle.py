"""Runs whose process is gone without a word: MLflow would show them as running for ever."""

from __future__ import annotations

from pathlib import Path

from pipeline.params import Tracking
from pipeline.tracking.mirror import Mirror
from pipeline.unfinished import unfinished


def settle_killed(tracking: Tracking, root: Path = Path()) -> None:
    """Tell MLflow of each run of this project that was killed; never raises on account of the store."""
    for run in unfinished(root):
        if run.was_killed():
            mirror = Mirror.find(tracking, run.key)
            if mirror is not None:
                mirror.end_killed()
            run.settle()
