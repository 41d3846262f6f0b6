"""Training state of a run, and its checkpoints, from which a stopped run resumes bit for bit.

A checkpoint file contains a SHA-256 checksum (64 hexadecimal digits), followed by the output of `torch.save`, which by
itself does not detect flipped bits. Checkpoints are loaded with `weights_only`, so they cannot run code.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import logging
import os
import pickle
import random
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torch.optim.swa_utils import AveragedModel

from pipeline.atomic_io import write_bytes
from pipeline.errors import PipelineError
from pipeline.params.custom_code import describe_error
from pipeline.runtime.work_lock import EXTENDABLE, UNFINISHED

logger = logging.getLogger("pipeline.train")

FILE_NAME = "epoch-{:06d}.checkpoint"
DIGEST_LENGTH = 64  # hexadecimal digits
MAX_KEPT = 2  # the newest checkpoint, and the previous one in case the newest is broken


@dataclass(frozen=True)
class TrainState:
    """State needed to resume training bit for bit, with the interface of torch's modules."""

    network: nn.Module
    optimizer: Optimizer
    scheduler: LRScheduler
    ema: AveragedModel | None
    rng: torch.Generator  # draws the sample order and the augmentation

    def state_dict(self, key: str) -> dict[str, Any]:
        """Return the state and the run key; save it before the next step, because it shares memory with training."""
        return {
            "key": key,
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "ema": None if self.ema is None else self.ema.state_dict(),
            "rng": self.rng.get_state(),
            "global_rng": _get_global_rng(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Load the saved state of a run with the same parameters.

        Raises:
            PipelineError: The network, the optimizer or another part cannot load its state.
        """
        try:
            self.network.load_state_dict(state["network"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.scheduler.load_state_dict(state["scheduler"])
            if self.ema is not None:
                self.ema.load_state_dict(state["ema"])
            self._check_layouts()
            self.rng.set_state(state["rng"])
            _set_global_rng(state["global_rng"])
        except Exception as error:
            raise PipelineError(
                f"The checkpoint cannot be loaded: {describe_error(error)}. To start this run from the beginning, "
                f"remove {UNFINISHED}/{state['key']} and {EXTENDABLE}."
            ) from error

    def _check_layouts(self) -> None:
        """Assert that weights and optimizer state have equal memory layouts.

        With different layouts, the result of a fused step is silently wrong (torch 2.14 on a CPU).
        """
        for group in self.optimizer.param_groups:
            for weight in group["params"] if group.get("fused") else ():
                for name, moment in self.optimizer.state[weight].items():
                    if moment.shape == weight.shape:
                        assert moment.stride() == weight.stride(), f"{name}: {moment.stride()}, not {weight.stride()}"


class CheckpointManager:
    """Checkpoints of one run, in their own folder; disk errors are only logged."""

    def __init__(self, folder: Path, run: str) -> None:
        self._folder = folder
        self._run = run
        self._failed = self._is_verified = False

    def save(self, epoch: int, state: dict[str, Any]) -> None:
        """Write the state after an epoch, and remove all but the last two checkpoints.

        If the disk is full or the state of a custom optimizer cannot be serialized, one warning is logged, and training
        continues without a checkpoint.
        """
        try:
            buffer = io.BytesIO()
            torch.save(state, buffer)
            payload = buffer.getbuffer()
            if not self._is_verified:  # once: not everything that can be saved can be loaded with weights_only
                torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)  # a GPU may be full
                self._is_verified = True
            write_bytes(self._folder / FILE_NAME.format(epoch), hashlib.sha256(payload).hexdigest().encode(), payload)
            for old in self._list_files()[:-MAX_KEPT]:
                old.unlink(missing_ok=True)
        except (OSError, pickle.PickleError, AttributeError, TypeError) as error:
            if not self._failed:
                reason = "the state of its optimizer does not consist of tensors and numbers"
                if isinstance(error, OSError):
                    reason = error.strerror or str(error)
                logger.warning("Run %s continues, but without a checkpoint to resume from (%s).", self._run, reason)
            self._failed = True

    def load_newest(self, is_usable: Callable[[dict[str, Any]], bool] = lambda _: True) -> dict[str, Any] | None:
        """Load the newest intact checkpoint for which `is_usable` returns True; None if there is none."""
        states = (self._read(path) for path in reversed(self._list_files()))
        return next((state for state in states if state is not None and is_usable(state)), None)

    def keep_newest(self, folder: Path) -> None:
        """Replace the content of another folder with a copy of the newest checkpoint; disk errors are ignored."""
        for path in self._list_files()[-1:]:
            with contextlib.suppress(OSError):
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir(parents=True)
                try:
                    os.link(path, folder / path.name)  # takes no additional disk space
                except OSError:  # not every file system supports hard links
                    write_bytes(folder / path.name, path.read_bytes())

    def _read(self, path: Path) -> dict[str, Any] | None:
        try:
            content = path.read_bytes()
            if hashlib.sha256(memoryview(content)[DIGEST_LENGTH:]).hexdigest().encode() != content[:DIGEST_LENGTH]:
                raise ValueError("its checksum is wrong")
            found = torch.load(io.BytesIO(memoryview(content)[DIGEST_LENGTH:]), map_location="cpu", weights_only=True)
        except (OSError, ValueError, RuntimeError, pickle.UnpicklingError) as error:
            why = error if isinstance(error, (OSError, ValueError)) else "it cannot be read"
            logger.warning("Run %s: the checkpoint %s is not used (%s).", self._run, path.name, why)
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
            return None
        return dict(found)

    def _list_files(self) -> list[Path]:
        return sorted(self._folder.glob("epoch-*.checkpoint"))


def _get_global_rng() -> dict[str, Any]:
    numpy = np.random.get_state(legacy=False)
    assert isinstance(numpy, dict)
    words = {**numpy["state"], "key": numpy["state"]["key"].tolist()}  # weights_only does not load numpy arrays
    gpu = torch.cuda.get_rng_state() if torch.cuda.is_available() else None
    return {"torch": torch.get_rng_state(), "gpu": gpu, "python": random.getstate(), "numpy": {**numpy, "state": words}}


def _set_global_rng(states: Mapping[str, Any]) -> None:
    torch.set_rng_state(states["torch"])
    if states["gpu"] is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(states["gpu"])
    random.setstate(states["python"])
    words = {**states["numpy"]["state"], "key": np.array(states["numpy"]["state"]["key"], dtype=np.uint32)}
    np.random.set_state({**states["numpy"], "state": words})
