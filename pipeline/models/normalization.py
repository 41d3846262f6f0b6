"""Normalization of images as part of the network, so that weight files include its statistics."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

import torch
from torch import Tensor, nn

from pipeline.errors import PipelineError

# Mean and standard deviation of ImageNet's red, green and blue, which most of smp's encoders expect.
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
NORMALIZE = "0."  # prefix of the statistics in the weights of a run
RGB = 3


class Normalize(nn.Module):
    """Normalization of pixels from 0..1 to -1..1, the range of lite0's ImageNet weights.

    A network that starts from weights with a mean and standard deviation other than 0.5 uses those instead. They are
    buffers, so they are saved with the weights.
    """

    mean: Tensor | None
    std: Tensor | None

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", None)
        self.register_buffer("std", None)

    def set_statistics(self, mean: Sequence[float], std: Sequence[float], channels: int) -> None:
        """Set the mean and standard deviation of red, green and blue; images with other channels use their averages.

        timm averages the statistics in the same way (`adapt_to_chs`).
        """
        if channels != RGB:
            mean, std = [fmean(mean)] * channels, [fmean(std)] * channels
        self.mean, self.std = (torch.tensor(values, dtype=torch.float32)[:, None, None] for values in (mean, std))

    def copy_statistics(self, mean: Tensor, std: Tensor, channels: int) -> None:
        """Copy the saved mean and standard deviation of a run, channels x 1 x 1 each.

        Raises:
            PipelineError: The run was trained on images with a different number of channels.
        """
        if tuple(mean.shape) != (channels, 1, 1) or mean.shape != std.shape:
            raise PipelineError(
                f"The weights were trained on images with {len(mean)} channels, but the images of this project have "
                f"{channels}. Use the weights of a run trained on images with {channels} channels."
            )
        self.mean, self.std = mean.clone(), std.clone()

    def forward(self, images: Tensor) -> Tensor:
        """Normalize pixels, N x C x H x W."""
        if self.mean is None or self.std is None:
            return (images - 0.5) / 0.5
        return (images - self.mean) / self.std
