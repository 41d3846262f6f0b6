"""Checkpoints of the last epochs, written atomically, from which a stopped run resumes.

A file is a SHA-256 checksum in 64 hexadecimal digits, then the state as `torch.save` writes it. torch itself does not
notice a flipped bit. Checkpoints are loaded with `weights_only`, so they cannot run code.
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

FILE_NAME = "epoch-{:06d}.checkpoint"
DIGEST_LENGTH = 64  # characters
MAX_KEPT = 2  # the newest, and the one before it in case that is broken


class CheckpointManager:
    """Saves and loads the checkpoints of one run in its own folder. Disk errors are only logged."""

    def __init__(self, folder: Path, run: str) -> None:
        self._folder = folder
        self._run = run
        self._failed = self._is_verified = False

    def save(self, epoch: int, state: dict[str, Any]) -> None:
        """Write the state after an epoch, and remove all but the last two checkpoints.

        A full disk, or a custom optimizer that cannot be serialized, costs the checkpoint and not the training: it is
        reported once.
        """
        try:
            buffer = io.BytesIO()
            torch.save(state, buffer)
            payload = buffer.getbuffer()
            if not self._is_verified:  # once: not everything that can be saved can be loaded with weights_only
                torch.load(io.BytesIO(payload), weights_only=True)
                self._is_verified = True
            write_bytes(self._folder / FILE_NAME.format(epoch), hashlib.sha256(payload).hexdigest().encode(), payload)
            for old in self._files()[:-MAX_KEPT]:
                old.unlink(missing_ok=True)
        except (OSError, pickle.PickleError, AttributeError, TypeError) as error:
            if not self._failed:
                reason = "the state of its optimizer does not consist of tensors and numbers"
                if isinstance(error, OSError):
                    reason = error.strerror or str(error)
                logger.warning("Run %s continues, but without a checkpoint to resume from (%s).", self._run, reason)
            self._failed = True

    def load_newest(self) -> dict[str, Any] | None:
        """Load the state of the last epoch with an intact checkpoint; None without one."""
        states = (self._read(path) for path in reversed(self._files()))
        return next((state for state in states if state is not None), None)

    def _read(self, path: Path) -> dict[str, Any] | None:
        try:
            content = path.read_bytes()
            if hashlib.sha256(memoryview(content)[DIGEST_LENGTH:]).hexdigest().encode() != content[:DIGEST_LENGTH]:
                raise ValueError("its checksum is wrong")
            found = torch.load(io.BytesIO(memoryview(content)[DIGEST_LENGTH:]), map_location="cpu", weights_only=True)
        except (OSError, ValueError, RuntimeError, pickle.UnpicklingError) as error:
            why = error if isinstance(error, (OSError, ValueError)) else "it cannot be read"
            logger.warning("Run %s: %s is not used (%s).", self._run, path.name, why)
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
            return None
        return dict(found)

    def _files(self) -> list[Path]:
        return sorted(self._folder.glob("epoch-*.checkpoint"))
