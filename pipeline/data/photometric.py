"""Random changes to how a batch of images looks: light, colour, sharpness, a hidden part. Masks stay what they are."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.params.train import Augmentation

ERASED = (0.15, 0.4)  # side of the hidden square, as a share of the image's shorter side


def change_appearance(images: Tensor, ranges: Augmentation, random: torch.Generator) -> Tensor:
    """Relight, recolour, blur and hide a part of every sample by its own draw; N x C x H x W in 0..1, so is the result.

    A range of 0 draws nothing, so that a change switched off leaves the others' draws as they were.
    """
    images = _relight(images, ranges.light, random)
    if ranges.colour:
        images = _recolour(images, ranges.colour, random)
    if ranges.blur:
        images = _blur(images, ranges.blur, random)
    if ranges.erase:
        images = _erase(images, ranges.erase, random)
    return images


def _relight(images: Tensor, light: float, random: torch.Generator) -> Tensor:
    contrast = 1 + _around_zero(images, random) * light
    brightness = _around_zero(images, random) / 2 * light
    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    return ((images - mean) * contrast + mean + brightness).clamp(0, 1)


def _recolour(images: Tensor, colour: float, random: torch.Generator) -> Tensor:
    tint = 1 + (_draws(images, random, images.shape[1]) * 2 - 1) * colour
    tinted = images * tint
    grey = tinted.mean(dim=1, keepdim=True)
    saturation = 1 + _around_zero(images, random) * min(1.0, 2 * colour)
    return (grey + (tinted - grey) * saturation).clamp(0, 1)


def _blur(images: Tensor, probability: float, random: torch.Generator) -> Tensor:
    smooth = F.avg_pool2d(F.pad(images, (1, 1, 1, 1), mode="replicate"), kernel_size=3, stride=1)
    return torch.where(_chosen(images, probability, random), smooth, images)


def _erase(images: Tensor, probability: float, random: torch.Generator) -> Tensor:
    """A square of the image's own mean colour somewhere (DeVries and Taylor 2017): the network must know the rest."""
    height, width = images.shape[-2:]
    chosen = _chosen(images, probability, random)
    low, high = ERASED
    side = (low + _draws(images, random) * (high - low)) * min(height, width)
    top = _draws(images, random) * (height - side)
    left = _draws(images, random) * (width - side)
    y = torch.arange(height, device=images.device).view(1, 1, -1, 1)
    x = torch.arange(width, device=images.device).view(1, 1, 1, -1)
    inside = (y >= top) & (y < top + side) & (x >= left) & (x < left + side)
    return torch.where(inside & chosen, images.mean(dim=(2, 3), keepdim=True), images)


def _around_zero(images: Tensor, random: torch.Generator) -> Tensor:
    """A draw from -1 to 1 for each sample, N x 1 x 1 x 1."""
    return _draws(images, random) * 2 - 1


def _chosen(images: Tensor, probability: float, random: torch.Generator) -> Tensor:
    """Whether each sample is changed, N x 1 x 1 x 1."""
    return _draws(images, random) < probability


def _draws(images: Tensor, random: torch.Generator, channels: int = 1) -> Tensor:
    """Draws from 0 to 1 for each sample, N x channels x 1 x 1, where the images are."""
    return torch.rand((len(images), channels, 1, 1), generator=random).to(images.device)
