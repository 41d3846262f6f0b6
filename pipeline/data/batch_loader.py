"""Load the samples of a split in batches onto the network's device."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pipeline.artifacts.prepared_data import Split
from pipeline.data.boundary_weights import BoundaryWeights

GPU_MEMORY_FRACTION = 0.5  # fraction of a GPU's free memory that a split may fill; the network uses the rest
CHUNK = 64  # images that are copied to a GPU at a time, so that main memory never holds the whole split


class Batch(NamedTuple):
    """Samples on the network's device."""

    images: Tensor  # N x C x H x W in 0..1, channels last
    masks: Tensor  # N x H x W, int64, class index or `IGNORE`
    boundary: Tensor | None = None  # N x H x W, boundary weights in float32; None if they are not used


def to_network_input(images: Tensor) -> Tensor:
    """Convert images, N x H x W x C, uint8 or uint16, to N x C x H x W in 0..1, channels last."""
    # A transposed view of N x H x W x C is what torch calls channels_last, so no copy is needed.
    return images.permute(0, 3, 1, 2).to(torch.float32).div_(float(torch.iinfo(images.dtype).max))


def to_device(array: npt.NDArray[Any], device: torch.device) -> Tensor:
    """Convert an array to a tensor on a device.

    A GPU copies it from page-locked memory while it works on earlier steps. Other copies wait until these are finished.
    """
    tensor = torch.from_numpy(array)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


class BatchLoader:
    """A loader of whole images, which must all have the same size.

    Images are read from the memory-mapped file.

    Args:
        split: The images.
        device: Device of the batches.
        boundary: Boundary weights of the images; None if they are not used.
        keep_on_gpu: Whether a GPU with enough memory keeps the whole split in its stored type, so that each step
            transfers only indices. This pays only if images are loaded more than once.
    """

    def __init__(
        self,
        split: Split,
        device: torch.device,
        boundary: BoundaryWeights | None = None,
        *,
        keep_on_gpu: bool = False,
    ) -> None:
        self._split, self._device, self._boundary, self.size = split, device, boundary, split.size
        self._on_gpu: tuple[Tensor, ...] | None = None
        # torch cannot index all 16-bit types.
        if keep_on_gpu and device.type == "cuda" and split.images.dtype == np.uint8:
            free, _ = torch.cuda.mem_get_info(device)
            if split.images.nbytes + split.masks.nbytes < GPU_MEMORY_FRACTION * free:
                self._on_gpu = self._load_all()

    def __len__(self) -> int:
        """Return the number of images in an epoch."""
        return len(self._split)

    def draw_epoch(self, rng: torch.Generator) -> npt.NDArray[np.int64]:
        """Draw the order of the images in an epoch, as N indices."""
        return torch.randperm(len(self._split), generator=rng).numpy()

    def draw(self, count: int, rng: torch.Generator) -> npt.NDArray[np.int64]:
        """Draw image indices with replacement, sorted in file order."""
        return torch.randint(len(self), (count,), generator=rng).sort().values.numpy()

    def count_pixels(self, num_classes: int) -> npt.NDArray[np.float64]:
        """Count the evaluated pixels of each class in each image, images x classes."""
        return count_pixels(self._split.masks, num_classes)

    def take(self, indices: npt.NDArray[np.int64]) -> Batch:
        """Load images by their indices."""
        if self._on_gpu is not None:
            index = to_device(indices, self._device)
            images, masks = (tensor[index] for tensor in self._on_gpu)
        else:
            images, masks = self._load(indices)
        boundary = None
        if self._boundary is not None:
            weights = np.stack([self._boundary[int(index)] for index in indices])
            boundary = to_device(weights, self._device).to(torch.float32)
        return Batch(to_network_input(images), masks.to(torch.int64), boundary)

    def _load(self, indices: npt.NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        images, masks = (
            np.stack([stack[index] for index in indices]) for stack in (self._split.images, self._split.masks)
        )
        return to_device(images, self._device), to_device(masks, self._device)

    def _load_all(self) -> tuple[Tensor, ...]:
        count = len(self._split)
        kept = tuple(part.new_empty((count, *part.shape[1:])) for part in self._load(np.arange(1)))
        for start in range(0, count, CHUNK):
            chunk = slice(start, min(start + CHUNK, count))
            for tensor, part in zip(kept, self._load(np.arange(chunk.start, chunk.stop)), strict=True):
                tensor[chunk] = part
        return kept


def count_pixels(masks: Iterable[npt.NDArray[np.uint8]], num_classes: int) -> npt.NDArray[np.float64]:
    """Count the evaluated pixels of each class in each mask, masks x classes."""
    counts = [np.bincount(mask.ravel(), minlength=num_classes)[:num_classes] for mask in masks]
    return np.array(counts, np.float64)
