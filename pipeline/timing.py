"""Reads the times of a run's training, which are unknown where DVC restored the run: it does not keep `timing.json`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipeline import runs
from pipeline.atomic_io import read_json
from pipeline.errors import PipelineError

KEYS = frozenset(
    {"key", "seconds", "training_seconds", "eval_seconds", "images_per_second", "epochs", "processor", "torch"}
)


def read_timing(folder: Path) -> dict[str, Any] | None:
    """Read the times and the machine of the training whose results a run's folder holds.

    `.dvcignore` leaves the file out of the folder's hash, so that equal trainings have equal hashes. DVC therefore
    restores a run without it, or with the file of the training that was there before.

    Args:
        folder: of the run.

    Returns:
        The content of `timing.json`; None if it is missing, broken or of another training.
    """
    try:
        timing = read_json(folder / runs.TIMING, "pipeline train")
        key = read_json(folder / runs.RECORD, "pipeline train").get("key")
    except PipelineError:
        return None
    return timing if timing.get("key") == key and timing.keys() >= KEYS else None
