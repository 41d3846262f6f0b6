"""Runs whose process is gone without a word: MLflow would show them as running for ever."""

from __future__ import annotations

import json
from pathlib import Path

from pipeline.params import Tracking
from pipeline.runtime.run_lock import unfinished
from pipeline.tracking.mirror import Mirror
from pipeline.tracking.store import portable_uri, resolve_uri, tracking_uri


def note_of(tracking: Tracking, name: str) -> str:
    """What a process that is at work notes for who comes after it: the run's name and where MLflow is told of it."""
    return json.dumps({"name": name, "uri": portable_uri(tracking_uri(tracking)), "experiment": tracking.experiment})


def mark_killed(root: Path = Path()) -> None:
    """Tell MLflow of each run of this project that was killed; never raises on account of the store.

    One that does not answer is told another time.
    """
    for run in unfinished(root):
        with run.killed() as note:
            if note is not None:
                noted = json.loads(note)
                if Mirror.end_killed(noted["name"], resolve_uri(noted["uri"]), noted["experiment"], run.key):
                    run.settle()
