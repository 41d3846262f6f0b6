"""Draw patches of native images, and load them in batches, onto the device of the network."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pipeline.artifacts.image_stack import ImageStack
from pipeline.artifacts.prepared_data import Split
from pipeline.data.batch_loader import Batch, BatchLoader, count_pixels, to_network_input
from pipeline.data.boundary_weights import BoundaryWeights
from pipeline.errors import PipelineError
from pipeline.imaging import IGNORE
from pipeline.imaging.windows import cut_window
from pipeline.params.train import Augmentation, Train

# An image's index, and the first row and column of a patch in it; they are negative in an image smaller than a patch.
PATCH = np.dtype([("image", np.int64), ("top", np.int64), ("left", np.int64)])
COUNTED_PATCHES = 1000  # that estimate the pixels around the foreground
MAX_COUNTED_SHARE = 0.999  # of these patches, so that a class that none of them shows still occurs


def create_loader(
    split: Split, device: torch.device, settings: Train, foreground: Sequence[int]
) -> BatchLoader | PatchLoader:
    """Create a loader of whole images, or of patches if the settings have their size."""
    boundary = None
    if settings.boundary_weight is not None:
        boundary = BoundaryWeights(split.masks, foreground, settings.boundary_weight)
    if settings.patch is None:
        return BatchLoader(split, device, boundary)
    return PatchLoader(split, device, settings, foreground, boundary)


def count_samples(split: Split, settings: Train) -> int:
    """Count the images of an epoch, or its patches: by default those side by side that cover the images."""
    if settings.patch is None:
        return len(split)
    cover = np.ceil(split.images.sizes / np.array(settings.patch)).prod(axis=1).sum()
    return settings.patches_per_epoch or int(cover)


class PatchLoader:
    """Loads patches of images of any sizes.

    A pixel of a large image is as likely to be seen as one of a small image. A share of the patches is centered on a
    foreground pixel; the class of that pixel is drawn first, so that rare classes are seen as often as frequent ones.
    """

    def __init__(
        self,
        split: Split,
        device: torch.device,
        settings: Train,
        foreground: Sequence[int],
        boundary: BoundaryWeights | None = None,
    ) -> None:
        """Prepare the draws.

        Args:
            split: The training images.
            device: Of the batches.
            settings: Size, number and choice of the patches.
            foreground: Indices of the foreground classes.
            boundary: Boundary weights of the training images; None: not used.

        Raises:
            PipelineError: Every image is smaller than a patch.
        """
        assert settings.patch is not None
        self.size = settings.patch
        if (split.images.sizes < settings.patch).all():
            height, width = split.images.sizes.max(axis=0)
            raise PipelineError(
                f"train.patch_size: {settings.patch_size} px is larger than all training images, which have at most "
                f"{width} × {height} px. Set at most {max(height, width)}."
            )
        self._split, self._device, self._boundary = split, device, boundary
        self._margin = compute_margin(settings.patch, settings.augmentation)
        self._sizes = split.images.sizes
        self._count = count_samples(split, settings)
        self._pixels = self._sizes.prod(axis=1).cumsum()  # of an image and those before it
        self._foreground_share = settings.foreground_patches
        self._rows = _count_rows(split, foreground) if settings.foreground_patches else {}

    def __len__(self) -> int:
        """Return the number of patches in an epoch."""
        return self._count

    def draw_epoch(self, rng: torch.Generator) -> npt.NDArray[Any]:
        """Draw the patches of an epoch, in their order: N of the type `PATCH`."""
        return self.draw(self._count, rng)

    def draw(self, count: int, rng: torch.Generator) -> npt.NDArray[Any]:
        """Draw patches: N of the type `PATCH`."""
        return self._draw(count, rng, self._foreground_share)

    def _draw(self, count: int, rng: torch.Generator, foreground_share: float) -> npt.NDArray[Any]:
        patches = np.empty(count, PATCH)
        draws = torch.rand(count, 4, dtype=torch.float64, generator=rng).numpy()
        for patch, (kind, *draw) in zip(patches, draws, strict=True):
            if self._rows and kind < foreground_share:
                image, *center = self._draw_foreground(*draw)
            else:
                image, center = int(np.searchsorted(self._pixels, draw[0] * self._pixels[-1], side="right")), None
            starts = []
            for axis, side in enumerate(self.size):
                room = int(self._sizes[image][axis]) - side
                if room < 0:  # a smaller image is in the middle of the patch
                    start = room // 2
                elif center is None:
                    start = int(draw[1 + axis] * (room + 1))
                else:
                    start = min(max(center[axis] - side // 2, 0), room)
                starts.append(start)
            patch["image"], patch["top"], patch["left"] = image, *starts
        return patches

    def count_pixels(self, num_classes: int) -> npt.NDArray[np.float64]:
        """Estimate the evaluated pixels of each class that patches show, images and patches x classes.

        The images are counted as a whole, and patches centered on the foreground are drawn; the rows are scaled to the
        shares of both kinds of patches.
        """
        images = count_pixels(self._split.masks, num_classes)
        if not self._rows:
            return images
        patches = self._draw(COUNTED_PATCHES, torch.Generator().manual_seed(0), foreground_share=1.0)
        centered = count_pixels((self._cut(self._split.masks, patch, (0, 0), IGNORE) for patch in patches), num_classes)
        share = min(self._foreground_share, MAX_COUNTED_SHARE)
        return np.concatenate([images * ((1 - share) / images.sum()), centered * (share / centered.sum())])

    def take(self, patches: npt.NDArray[Any]) -> Batch:
        """Load patches with their margins; pixels outside an image show its reflection, and are ignored."""

        def cut(stack: ImageStack[Any] | BoundaryWeights, outside: int | None = None) -> Tensor:
            windows = [self._cut(stack, patch, self._margin, outside) for patch in patches]
            return torch.from_numpy(np.stack(windows)).to(self._device)

        images, masks = cut(self._split.images), cut(self._split.masks, IGNORE)
        boundary = None if self._boundary is None else cut(self._boundary, 0).to(torch.float32)
        return Batch(to_network_input(images), masks.to(torch.int64), boundary)

    def _cut(
        self, stack: ImageStack[Any] | BoundaryWeights, patch: np.void, margin: tuple[int, int], outside: int | None
    ) -> npt.NDArray[Any]:
        top, left = (int(patch[name]) - extra for name, extra in zip(("top", "left"), margin, strict=True))
        height, width = (side + 2 * extra for side, extra in zip(self.size, margin, strict=True))
        window = (slice(top, top + height), slice(left, left + width))
        return cut_window(stack[int(patch["image"])], window, outside)

    def _draw_foreground(self, class_draw: float, row_draw: float, column_draw: float) -> tuple[int, int, int]:
        """Draw a foreground pixel: its image, row and column; each class is as likely as the others."""
        index = list(self._rows)[int(class_draw * len(self._rows))]
        images, rows, cumulative = self._rows[index]
        place = int(np.searchsorted(cumulative, row_draw * cumulative[-1], side="right"))
        image, row = int(images[place]), int(rows[place])
        columns = np.flatnonzero(self._split.masks[image][row] == index)
        return image, row, int(columns[int(column_draw * len(columns))])


def compute_margin(size: tuple[int, int], ranges: Augmentation | None) -> tuple[int, int]:
    """Compute the pixels around a patch, of a height and width, that rotation, scaling and shifts can bring into it.

    Elastic displacements, which have no limit, count with two standard deviations.
    """
    if ranges is None:
        return 0, 0
    height, width = size
    reach = []
    for side, other in ((height, width), (width, height)):
        angle = min(math.radians(ranges.rotation), math.atan2(other, side))  # at the latter a diagonal is upright
        rotated = (side * math.cos(angle) + other * math.sin(angle)) / 2 * (1 + ranges.scale)
        shifted = ranges.translate * side + 2 * ranges.elastic * min(size)
        reach.append(max(0, math.ceil(rotated + shifted - side / 2)))
    return reach[0], reach[1]


def _count_rows(
    split: Split, classes: Sequence[int]
) -> dict[int, tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
    """Find, for each class that occurs, the image and row of the rows with its pixels, and their cumulative number."""
    found: dict[int, list[npt.NDArray[np.int64]]] = {index: [] for index in classes}
    for image, mask in enumerate(split.masks):
        for index, parts in found.items():
            counts = np.count_nonzero(mask == index, axis=1)
            rows = np.flatnonzero(counts)
            parts.append(np.stack([np.full(len(rows), image), rows, counts[rows]]))
    result = {}
    for index, parts in found.items():
        images, rows, counts = np.concatenate(parts, axis=1)
        if len(images):
            result[index] = (images, rows, counts.cumsum())
    return result
