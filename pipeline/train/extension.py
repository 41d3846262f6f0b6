"""Checkpoints of finished runs, from which longer runs with otherwise equal settings continue.

The weights are bit-identical to those of a run that was configured with all epochs from the start. This requires
a learning rate that does not depend on the number of epochs.
"""

from __future__ import annotations

import contextlib
import shutil
import time
from pathlib import Path
from typing import Any

from pipeline.artifacts.project import Project
from pipeline.artifacts.run_folder import Precision
from pipeline.params import Cell
from pipeline.runtime.work_lock import EXPIRY_SECONDS, EXTENDABLE
from pipeline.train.checkpoints import CheckpointManager
from pipeline.train.early_stopping import find_early_stop
from pipeline.train.run_key import compute_extension_key


class ExtendableRun:
    """A run that may be extended later; its last checkpoint is in the project's cache folder."""

    def __init__(self, cell: Cell, data_fingerprint: str, precision: Precision, root: Path) -> None:
        self._cell = cell
        self._key = compute_extension_key(cell, data_fingerprint, precision)
        self._parent = Project(root).original_home / EXTENDABLE

    def load(self) -> dict[str, Any] | None:
        """Load the last checkpoint of a shorter run; None if there is none."""
        if self._key is None:
            return None
        return CheckpointManager(self._parent / self._key, self._cell.name).load_newest(self._is_beginning)

    def keep(self, checkpoints: CheckpointManager) -> None:
        """Keep the last checkpoint of a finished run, and remove checkpoints older than `EXPIRY_SECONDS`."""
        if self._key is None:
            return
        folder = self._parent / self._key
        checkpoints.keep_newest(folder)
        for other in self._parent.iterdir() if self._parent.exists() else ():
            with contextlib.suppress(FileNotFoundError):  # another process has just removed it
                if time.time() - other.stat().st_mtime > EXPIRY_SECONDS:
                    shutil.rmtree(other, ignore_errors=True)

    def _is_beginning(self, state: dict[str, Any]) -> bool:
        """Return whether this run can continue from a checkpoint: it has more epochs and does not stop early there."""
        losses = [row["val_loss"] for row in state["results"]["history"]]
        train = self._cell.train
        return len(losses) < train.epochs and find_early_stop(losses, train.early_stopping) is None
