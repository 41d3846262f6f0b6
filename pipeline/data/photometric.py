"""Change the light, colors and sharpness of a batch of images at random, or erase a part; masks stay the same."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.params.train import Augmentation

ERASED_FRACTION = (0.15, 0.4)  # side of the erased square, relative to the image's shorter side


def change_photometry(images: Tensor, ranges: Augmentation, generator: torch.Generator) -> Tensor:
    """Change brightness, contrast and colors, blur, and erase a part of each sample (N x C x H x W in 0..1).

    A range of 0 draws nothing, so that the other changes' draws stay the same.
    """
    images = _change_light(images, ranges.brightness_contrast, generator)
    if ranges.color_jitter:
        images = _change_colors(images, ranges.color_jitter, generator)
    if ranges.blur_prob:
        images = _blur(images, ranges.blur_prob, generator)
    if ranges.random_erasing_prob:
        images = _erase(images, ranges.random_erasing_prob, generator)
    return images


def _change_light(images: Tensor, light: float, generator: torch.Generator) -> Tensor:
    contrast = 1 + _draw_signed(images, generator) * light
    brightness = _draw_signed(images, generator) / 2 * light
    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    return ((images - mean) * contrast + mean + brightness).clamp(0, 1)


def _change_colors(images: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    tint = 1 + (_draw(images, generator, images.shape[1]) * 2 - 1) * strength
    tinted = images * tint
    gray = tinted.mean(dim=1, keepdim=True)
    saturation = 1 + _draw_signed(images, generator) * min(1.0, 2 * strength)
    return (gray + (tinted - gray) * saturation).clamp(0, 1)


def _blur(images: Tensor, probability: float, generator: torch.Generator) -> Tensor:
    smooth = F.avg_pool2d(F.pad(images, (1, 1, 1, 1), mode="replicate"), kernel_size=3, stride=1)
    return torch.where(_draw_events(images, probability, generator), smooth, images)


def _erase(images: Tensor, probability: float, generator: torch.Generator) -> Tensor:
    """Fill a square with the image's mean color (DeVries and Taylor 2017, https://arxiv.org/abs/1708.04552)."""
    height, width = images.shape[-2:]
    is_erased = _draw_events(images, probability, generator)
    low, high = ERASED_FRACTION
    side = (low + _draw(images, generator) * (high - low)) * min(height, width)
    top = _draw(images, generator) * (height - side)
    left = _draw(images, generator) * (width - side)
    y = torch.arange(height, device=images.device).view(1, 1, -1, 1)
    x = torch.arange(width, device=images.device).view(1, 1, 1, -1)
    inside = (y >= top) & (y < top + side) & (x >= left) & (x < left + side)
    return torch.where(inside & is_erased, images.mean(dim=(2, 3), keepdim=True), images)


def _draw_signed(images: Tensor, generator: torch.Generator) -> Tensor:
    """Draw from -1 to 1 for each sample, N x 1 x 1 x 1."""
    return _draw(images, generator) * 2 - 1


def _draw_events(images: Tensor, probability: float, generator: torch.Generator) -> Tensor:
    """Draw whether each sample is changed, N x 1 x 1 x 1."""
    return _draw(images, generator) < probability


def _draw(images: Tensor, generator: torch.Generator, channels: int = 1) -> Tensor:
    """Draw from 0 to 1 for each sample, N x channels x 1 x 1, on the images' device."""
    return torch.rand((len(images), channels, 1, 1), generator=generator).to(images.device)
