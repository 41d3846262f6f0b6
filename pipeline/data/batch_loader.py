"""A split's samples as batches for a network, where the network is."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pipeline.data.prepared import Split

ROOM = 0.5  # of a GPU's free memory that a split may fill; the rest is for the network


class Batches:
    """Batches of a split by the places of their samples.

    For a processor they are read from the mapped file. A GPU keeps the whole split, as small as it is stored, where
    it has room: then nothing crosses over to it from step to step but the places.
    """

    def __init__(self, split: Split, device: torch.device) -> None:
        self._split, self._device = split, device
        self._scale = float(np.iinfo(split.images.dtype).max)
        self._kept: tuple[Tensor, Tensor] | None = None
        if device.type == "cuda" and split.images.dtype == np.uint8:  # torch picks from few types of 16 bits
            free, _ = torch.cuda.mem_get_info(device)
            if split.images.nbytes + split.masks.nbytes < ROOM * free:
                self._kept = self._stored(np.arange(len(split)))

    def take(self, places: npt.NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """Float images N x C x H x W in 0..1, channels last, and int64 masks N x H x W."""
        if self._kept is not None:
            index = torch.from_numpy(places).to(self._device)
            images, masks = (kept[index] for kept in self._kept)
        else:
            images, masks = self._stored(places)
        # A transposed view of N x H x W x C is what torch calls channels_last: no copy is needed.
        return images.permute(0, 3, 1, 2).to(torch.float32).div_(self._scale), masks.to(torch.int64)

    def _stored(self, places: npt.NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        images, masks = self._split.images[places], self._split.masks[places]
        return torch.from_numpy(images).to(self._device), torch.from_numpy(masks).to(self._device)
