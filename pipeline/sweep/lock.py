"""One sweep at a time per folder: two would train the same cells."""

from __future__ import annotations

import contextlib
from pathlib import Path

from pipeline import runs
from pipeline.runtime.work_lock import WorkLock

FOLDER = runs.SCRATCH / "sweep"


def sweep_lock(root: Path) -> contextlib.AbstractContextManager[None]:
    """Hold the folder's lock for a block; raises `PipelineError` that names the process of another sweep."""
    return WorkLock(root / FOLDER / "lock").hold("Another sweep of this folder")
