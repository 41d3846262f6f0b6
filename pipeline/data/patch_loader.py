"""Draw patches from native-size images, and load them in batches onto the network's device."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pipeline.artifacts.image_stack import ImageStack
from pipeline.artifacts.prepared_data import SegmentationClass, Split
from pipeline.data.batch_loader import Batch, BatchLoader, count_pixels, to_device, to_network_input
from pipeline.data.boundary_weights import BoundaryWeights
from pipeline.errors import PipelineError
from pipeline.imaging import IGNORE
from pipeline.imaging.windows import cut_window
from pipeline.params.train import Augmentation, Train

# Index of an image, and the first row and column of a patch in it, which are negative if the image is smaller.
PATCH = np.dtype([("image", np.int64), ("top", np.int64), ("left", np.int64)])
COUNTED_PATCHES = 1000  # number of patches drawn to estimate the pixels around the foreground
MAX_COUNTED_SHARE = 0.999  # maximum share of these patches, so that classes that do not occur in them still count


def create_loader(
    split: Split, device: torch.device, settings: Train, classes: Sequence[SegmentationClass]
) -> BatchLoader | PatchLoader:
    """Create a loader of whole images, or of patches if the settings have a patch size.

    Raises:
        PipelineError: Every image is smaller than a patch.
    """
    foreground = [index for index, one in enumerate(classes) if one.foreground]
    boundary = None
    if settings.boundary_weight is not None:
        boundary = BoundaryWeights(split.masks, foreground, settings.boundary_weight)
    if settings.patch is None:
        return BatchLoader(split, device, boundary, keep_on_gpu=True)
    return PatchLoader(split, device, settings, foreground, boundary)


def count_samples(split: Split, settings: Train) -> int:
    """Count the images or patches in an epoch; by default, enough patches to cover the images side by side."""
    if settings.patch is None:
        return len(split)
    cover = np.ceil(split.images.sizes / np.array(settings.patch)).prod(axis=1).sum()
    return settings.patches_per_epoch or int(cover)


class PatchLoader:
    """A loader of patches of images of any size.

    Pixels of large and small images are equally likely to be in a patch. A share of the patches is centered on a
    foreground pixel. The class of this pixel is drawn first, so that rare classes occur as often as frequent ones.
    """

    def __init__(
        self,
        split: Split,
        device: torch.device,
        settings: Train,
        foreground: Sequence[int],
        boundary: BoundaryWeights | None = None,
    ) -> None:
        """Create a loader of patches.

        Args:
            split: The training images.
            device: Device of the batches.
            settings: The `train` section of the parameters, with the size, number and selection of patches.
            foreground: Indices of the foreground classes.
            boundary: Boundary weights of the training images; None if they are not used.

        Raises:
            PipelineError: Every image is smaller than a patch.
        """
        assert settings.patch is not None
        self.size = settings.patch
        if (split.images.sizes < settings.patch).all():
            height, width = split.images.sizes.max(axis=0)
            raise PipelineError(
                f"train.patch_size: {settings.patch_size} px is larger than all training images, which are at most "
                f"{width} × {height} px. Set it to at most {max(height, width)}."
            )
        self._split, self._device, self._boundary = split, device, boundary
        self._margin = compute_margin(settings.patch, settings.augmentation)
        self._sizes = split.images.sizes
        self._count = count_samples(split, settings)
        self._pixels = self._sizes.prod(axis=1).cumsum()  # number of pixels of each image and all images before it
        self._foreground_share = settings.foreground_patches
        self._rows = _count_rows(split, foreground) if settings.foreground_patches else {}

    def __len__(self) -> int:
        """Return the number of patches in an epoch."""
        return self._count

    def draw_epoch(self, rng: torch.Generator) -> npt.NDArray[Any]:
        """Draw the patches of an epoch in training order: N elements of type `PATCH`."""
        return self.draw(self._count, rng)

    def draw(self, count: int, rng: torch.Generator) -> npt.NDArray[Any]:
        """Draw `count` patches: N elements of type `PATCH`."""
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
                if room < 0:  # an image smaller than the patch is centered in it
                    start = room // 2
                elif center is None:
                    start = int(draw[1 + axis] * (room + 1))
                else:
                    start = min(max(center[axis] - side // 2, 0), room)
                starts.append(start)
            patch["image"], patch["top"], patch["left"] = image, *starts
        return patches

    def count_pixels(self, num_classes: int) -> npt.NDArray[np.float64]:
        """Estimate the evaluated pixels of each class in the patches.

        Patches at random positions are represented by the whole images. Patches centered on the foreground are drawn.

        Returns:
            Number of pixels, (images + drawn patches) x classes. The rows are scaled to the shares of the two kinds of
            patches.
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
            return to_device(np.stack(windows), self._device)

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
        """Draw a foreground pixel, and return its image, row and column; all classes are equally likely."""
        index = list(self._rows)[int(class_draw * len(self._rows))]
        images, rows, cumulative = self._rows[index]
        place = int(np.searchsorted(cumulative, row_draw * cumulative[-1], side="right"))
        image, row = int(images[place]), int(rows[place])
        columns = np.flatnonzero(self._split.masks[image][row] == index)
        return image, row, int(columns[int(column_draw * len(columns))])


def compute_margin(size: tuple[int, int], ranges: Augmentation | None) -> tuple[int, int]:
    """Compute the margin around a patch, in px, from which rotation, scaling and shifts can bring pixels into it.

    Elastic displacements are unbounded, so the margin covers two of their standard deviations.

    Args:
        size: Height and width of the patch, px.
        ranges: Ranges of the changes; None without augmentation.

    Returns:
        Margin above and below, and margin on the left and right.
    """
    if ranges is None:
        return 0, 0
    height, width = size
    reach = []
    for side, other in ((height, width), (width, height)):
        # At the second angle, the diagonal of the patch is parallel to the side.
        angle = min(math.radians(ranges.rotation), math.atan2(other, side))
        rotated = (side * math.cos(angle) + other * math.sin(angle)) / 2 * (1 + ranges.scale)
        shifted = ranges.translate * side + 2 * ranges.elastic * min(size)
        reach.append(max(0, math.ceil(rotated + shifted - side / 2)))
    return reach[0], reach[1]


def _count_rows(
    split: Split, classes: Sequence[int]
) -> dict[int, tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
    """Count the pixels of each class by row.

    Returns:
        For each class that occurs, the rows with its pixels: index of the image, number of the row, and cumulative
        number of pixels.
    """
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
