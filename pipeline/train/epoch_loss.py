"""Mean of the minimized loss over an epoch, and the check that all losses are finite."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from pipeline.imaging import IGNORE

GPU_INTERVAL = 16  # number of batches whose losses are read together from a GPU


class DivergedError(Exception):
    """A loss became NaN or infinite in `epoch`, counted from 1."""

    def __init__(self, epoch: int) -> None:
        super().__init__(f"the loss was NaN or infinite in epoch {epoch}")
        self.epoch = epoch


class EpochLoss:
    """Losses of the batches of an epoch.

    Reading a loss from a GPU waits until the GPU has finished all its work, and leaves it idle until it gets the next.
    The losses of several batches are therefore read together. On a CPU, each loss is read and checked immediately.
    """

    def __init__(self, epoch: int, device: torch.device) -> None:
        self._epoch = epoch
        self._interval = GPU_INTERVAL if device.type == "cuda" else 1
        self._losses: list[Tensor] = []  # not read yet
        self._have_pixels: list[Tensor] = []
        self._total, self._count = 0.0, 0

    def add(self, loss: Tensor, masks: Tensor) -> None:
        """Add the loss of a batch.

        The loss of a batch without evaluated pixels is checked, but does not count, because it is undefined, not 0.

        Raises:
            DivergedError: This loss, or that of an earlier batch that had not been read, is NaN or infinite.
        """
        self._losses.append(loss.detach())
        self._have_pixels.append((masks != IGNORE).any())
        if len(self._losses) >= self._interval:
            self._read()

    def compute_mean(self) -> float:
        """Return the mean loss of the batches with evaluated pixels, or NaN if there are none; wait for the GPU.

        Raises:
            DivergedError: A loss is NaN or infinite.
        """
        if self._losses:
            self._read()
        return self._total / self._count if self._count else math.nan

    def _read(self) -> None:
        losses, have_pixels = (torch.stack(values).tolist() for values in (self._losses, self._have_pixels))
        self._losses.clear()
        self._have_pixels.clear()
        for loss, has_pixels in zip(losses, have_pixels, strict=True):
            if not math.isfinite(loss):
                raise DivergedError(self._epoch)
            if has_pixels:
                self._total, self._count = self._total + loss, self._count + 1
