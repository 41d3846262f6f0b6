"""Resize images and masks into a network's square, and masks back."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Resize = Literal["stretch", "letterbox"]


def fit_image(image: NDArray[Any], size: int, resize: Resize) -> NDArray[Any]:
    """Resize an image (H x W x C, uint8 or uint16) to size x size px: stretched, or padded with its reflection.

    The padding is not evaluated. It is a reflection because black bars would be an edge to the network, and would
    darken the average image of batch normalization.

    Returns:
        size x size x C of the same type, resampled with Lanczos' filter, which averages where it shrinks.
    """
    height, width = compute_inner_size(image.shape, size, resize)
    if image.dtype == np.uint8 and image.shape[-1] == 3:  # Pillow resamples all three at once
        inner = np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.LANCZOS))
    else:
        inner = np.stack([_resample(image[..., band], height, width) for band in range(image.shape[-1])], axis=-1)
    return pad_image(inner, size)


def fit_mask(mask: NDArray[np.uint8], size: int, resize: Resize, outside: int) -> NDArray[np.uint8]:
    """Resize a mask (H x W) to size x size px as `fit_image` does, to its nearest pixels; pad it with `outside`."""
    return pad_mask(resize_mask(mask, size, resize), size, outside)


def resize_mask(mask: NDArray[np.integer[Any]], size: int, resize: Resize) -> NDArray[Any]:
    """Resize a mask (H x W, uint8 or int32) to its size inside the square, to its nearest pixels."""
    height, width = compute_inner_size(mask.shape, size, resize)
    return np.asarray(Image.fromarray(mask).resize((width, height), Image.Resampling.NEAREST))


def restore_mask(square: NDArray[np.uint8], shape: tuple[int, ...], resize: Resize) -> NDArray[np.uint8]:
    """Resize a mask from `fit_mask` back to its own shape (H x W), to its nearest pixels."""
    inner = np.ascontiguousarray(square[locate_inner(shape, len(square), resize)])
    return np.asarray(Image.fromarray(inner).resize((shape[1], shape[0]), Image.Resampling.NEAREST))


def pad_image(inner: NDArray[Any], size: int) -> NDArray[Any]:
    """Center an image (H x W x C) in the square, with its reflection around it."""
    height, width = inner.shape[:2]
    if height == width == size:
        return inner
    return np.pad(inner, (*_padding(height, width, size), (0, 0)), mode="reflect")


def pad_mask(mask: NDArray[np.uint8], size: int, outside: int) -> NDArray[np.uint8]:
    """Center a mask (H x W, from `resize_mask`) in the square, with `outside` around it."""
    height, width = mask.shape
    if height == width == size:
        return mask
    return np.pad(mask, _padding(height, width, size), constant_values=outside)


def locate_inner(shape: tuple[int, ...], size: int, resize: Resize) -> tuple[slice, slice]:
    """Return the rows and columns of the square that show an image of `shape` (H x W, ...)."""
    height, width = compute_inner_size(shape, size, resize)
    (top, _), (left, _) = _padding(height, width, size)
    return slice(top, top + height), slice(left, left + width)


def compute_inner_size(shape: tuple[int, ...], size: int, resize: Resize) -> tuple[int, int]:
    """Compute the height and width inside the square of an image of `shape` (H x W, ...)."""
    if resize == "stretch":
        return size, size
    height, width = (max(1, round(side * size / max(shape[:2]))) for side in shape[:2])
    return height, width


def _padding(height: int, width: int, size: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """Compute the pixels above and below, left and right of a centered image."""
    top, left = (size - height) // 2, (size - width) // 2
    return (top, size - height - top), (left, size - width - left)


def _resample(band: NDArray[Any], height: int, width: int) -> NDArray[Any]:
    if band.dtype == np.uint8:
        return np.asarray(Image.fromarray(band).resize((width, height), Image.Resampling.LANCZOS))
    # As float32, which Pillow resamples without losing bits.
    resized = Image.fromarray(band.astype(np.float32)).resize((width, height), Image.Resampling.LANCZOS)
    values: NDArray[Any] = np.clip(np.rint(np.asarray(resized)), 0, 65_535).astype(np.uint16)
    return values
