"""A run's last epochs on disk, each whole or not at all, so that a stopped run goes on where it was.

A file is the SHA-256 of what follows, 64 hex digits, and what `torch.save` made of the state. The sum is our own since
torch reads a file with a flipped bit without noticing. It is read as weights only: a checkpoint runs no code.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import logging
import pickle
from pathlib import Path
from typing import Any

import torch

from pipeline.atomic_io import write_bytes

logger = logging.getLogger("pipeline.train")

NAME = "epoch-{:06d}.checkpoint"
DIGEST = 64  # characters
KEPT = 2  # the newest, and the one before it for when that is broken


class Checkpoints:
    """The checkpoints of one run, in a folder of its own. No method raises on account of the disk."""

    def __init__(self, folder: Path, run: str) -> None:
        self._folder = folder
        self._run = run
        self._failed = self._reads_back = False

    def save(self, epoch: int, state: dict[str, Any]) -> None:
        """Write the state after an epoch, and remove all but the last two.

        A full disk, or a user's optimiser that cannot be written down, costs the checkpoint, not the training: it is
        said once.
        """
        try:
            buffer = io.BytesIO()
            torch.save(state, buffer)
            payload = buffer.getbuffer()
            if not self._reads_back:  # once a process: what can be written down need not be readable as weights only
                torch.load(io.BytesIO(payload), weights_only=True)
                self._reads_back = True
            write_bytes(self._folder / NAME.format(epoch), hashlib.sha256(payload).hexdigest().encode(), payload)
            for old in self._files()[:-KEPT]:
                old.unlink(missing_ok=True)
        except (OSError, pickle.PickleError, AttributeError, TypeError) as error:
            if not self._failed:
                reason = "its optimiser's state is not of tensors and numbers"
                if isinstance(error, OSError):
                    reason = error.strerror or str(error)
                logger.warning("Run %s goes on, but has no checkpoint to resume from (%s).", self._run, reason)
            self._failed = True

    def newest(self) -> dict[str, Any] | None:
        """The state of the last epoch that is whole on disk; None where there is none."""
        for path in reversed(self._files()):
            state = self._read(path)
            if state is not None:
                return state
        return None

    def _read(self, path: Path) -> dict[str, Any] | None:
        try:
            content = path.read_bytes()
            if hashlib.sha256(memoryview(content)[DIGEST:]).hexdigest().encode() != content[:DIGEST]:
                raise ValueError("its checksum is wrong")
            found = torch.load(io.BytesIO(memoryview(content)[DIGEST:]), map_location="cpu", weights_only=True)
        except (OSError, ValueError, RuntimeError, pickle.UnpicklingError) as error:
            why = error if isinstance(error, (OSError, ValueError)) else "it cannot be read"
            logger.warning("Run %s: %s is not used (%s).", self._run, path.name, why)
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
            return None
        return dict(found)

    def _files(self) -> list[Path]:
        return sorted(self._folder.glob("epoch-*.checkpoint"))
