"""Augment batches: change each image at random, together with its mask and boundary weights.

A single call of grid_sample makes all geometric changes to a batch. On a CPU, this is about four times as fast as one
transform per sample, and it does not require torchvision.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.data.batch_loader import Batch
from pipeline.params.train import Augmentation

ERASED_FRACTION = (0.15, 0.4)  # side of the erased square, relative to the image's shorter side

ELASTIC_GRID = 3  # control points along each side, the outer ones on the border


def augment(
    batch: Batch, ranges: Augmentation, generator: torch.Generator, size: tuple[int, int] | None = None
) -> Batch:
    """Flip, scale, rotate, shift and deform each sample, and change its lighting and colors.

    Args:
        batch: The samples; images of H x W px.
        ranges: Ranges of the changes.
        generator: The only source of randomness; on the CPU, so that a GPU makes the same changes.
        size: Height and width of the result in px, h x w, if the images have a margin around it; None for the size of
            the images.

    Returns:
        Samples of h x w px; uncovered pixels are filled by reflection. Masks and boundary weights are resampled by
        nearest neighbor.
    """
    images, masks, boundary = batch
    size = size or (images.shape[2], images.shape[3])
    maps = _draw_inverse_maps(len(images), size, ranges, generator)
    if size != images.shape[2:]:
        maps = maps * torch.tensor([[size[1] / images.shape[3]], [size[0] / images.shape[2]]])
    grid = F.affine_grid(_move(maps, images), [*images.shape[:2], *size], False)
    if ranges.elastic:
        moved = _draw_displacements(images, size, ranges.elastic, generator)
        grid = grid + moved * _move(2 / torch.tensor([images.shape[3], images.shape[2]]), images)
    transformed = F.grid_sample(images, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
    labels = torch.stack([masks.to(images.dtype), *([] if boundary is None else [boundary])], dim=1)
    labels = F.grid_sample(labels, grid, mode="nearest", padding_mode="reflection", align_corners=False)
    # grid_sample returns contiguous layout, and the network expects channels_last.
    changed = _change_photometry(transformed, ranges, generator).contiguous(memory_format=torch.channels_last)
    return Batch(changed, labels[:, 0].to(masks.dtype), None if boundary is None else labels[:, 1])


def _draw_inverse_maps(count: int, size: tuple[int, int], ranges: Augmentation, generator: torch.Generator) -> Tensor:
    """Draw affine maps, N x 2 x 3, from output to input coordinates, which are in -1..1 as in grid_sample."""
    height, width = size

    def draw(span: float) -> Tensor:
        return (torch.rand(count, generator=generator) * 2 - 1) * span

    angle = draw(math.radians(ranges.rotation))
    zoom = torch.exp(draw(math.log1p(ranges.scale)))  # logarithmic: halving is as likely as doubling
    flip = torch.where(torch.rand(count, generator=generator) < ranges.hflip_prob, -1.0, 1.0)
    # A side has length 2 in these coordinates.
    shift_x, shift_y = draw(2 * ranges.translate), draw(2 * ranges.translate)
    cos, sin = torch.cos(angle) / zoom, torch.sin(angle) / zoom
    aspect = width / height  # without it, a rotation would shear images that are not square
    rows = (
        torch.stack([flip * cos, -flip * sin / aspect, shift_x], dim=1),
        torch.stack([sin * aspect, cos, shift_y], dim=1),
    )
    return torch.stack(rows, dim=1)


def _draw_displacements(images: Tensor, size: tuple[int, int], strength: float, generator: torch.Generator) -> Tensor:
    """Draw elastic deformations: random vectors on a coarse grid, interpolated smoothly (Ronneberger et al. 2015).

    The paper uses a 3 x 3 grid and a standard deviation of 10 px for images of 512 px.

    Returns:
        Displacements to the right and downwards in px, N x h x w x 2, on the device of the images.
    """
    coarse = torch.randn(len(images), 2, ELASTIC_GRID, ELASTIC_GRID, generator=generator) * strength * min(size)
    # Bicubic interpolation is linear in the values. One matrix per axis is about twice as fast as F.interpolate.
    points = torch.eye(ELASTIC_GRID)[None, None]
    down, right = (F.interpolate(points, (n, ELASTIC_GRID), mode="bicubic", align_corners=True)[0, 0] for n in size)
    down, right, coarse = (_move(values, images) for values in (down, right, coarse))
    return torch.stack([down @ vectors @ right.T for vectors in coarse.unbind(1)], dim=-1)


def _change_photometry(images: Tensor, ranges: Augmentation, generator: torch.Generator) -> Tensor:
    """Change brightness, contrast and colors of each sample, blur it, and erase a part; masks stay the same.

    Color jitter, blur and erasing draw no random numbers if they are off, so that they do not affect other draws.
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
    """Draw a number from -1 to 1 for each sample, N x 1 x 1 x 1."""
    return _draw(images, generator) * 2 - 1


def _draw_events(images: Tensor, probability: float, generator: torch.Generator) -> Tensor:
    """Draw a boolean for each sample, N x 1 x 1 x 1, which is True if the sample is to be changed."""
    return _draw(images, generator) < probability


def _draw(images: Tensor, generator: torch.Generator, channels: int = 1) -> Tensor:
    """Draw numbers from 0 to 1 for each sample, N x channels x 1 x 1, on the device of the images."""
    return _move(torch.rand((len(images), channels, 1, 1), generator=generator), images)


def _move(values: Tensor, images: Tensor) -> Tensor:
    """Move values to the device of the images, without waiting for a GPU to finish the steps before."""
    return values.to(images.device, non_blocking=True)
