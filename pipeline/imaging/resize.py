"""Resize images and masks to the size of the prepared ones, and masks back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Resize = Literal["stretch", "letterbox"]


@dataclass(frozen=True)
class Resizing:
    """How images of any size become prepared images: stretched, or padded with their reflection.

    The padding is not evaluated. It is a reflection because black bars would be an edge to the network, and would
    darken the average image of batch normalization.
    """

    size: tuple[int, int]  # px, height and width of the prepared images
    mode: Resize

    def fit_image(self, image: NDArray[Any]) -> NDArray[Any]:
        """Resize an image, H x W x C, uint8 or uint16, with Lanczos' filter, which averages where it shrinks."""
        height, width = self.compute_inner_size(image.shape)
        if image.dtype == np.uint8 and image.shape[-1] == 3:  # Pillow resamples all three at once
            inner = np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.LANCZOS))
        else:
            inner = np.stack([_resample(image[..., band], height, width) for band in range(image.shape[-1])], axis=-1)
        return self.pad_image(inner)

    def fit_mask(self, mask: NDArray[np.uint8], outside: int) -> NDArray[np.uint8]:
        """Resize a mask, H x W, to its nearest pixels; pad it with `outside`."""
        return self.pad_mask(self.resize_mask(mask), outside)

    def resize_mask(self, mask: NDArray[np.integer[Any]]) -> NDArray[Any]:
        """Resize a mask, H x W, uint8 or int32, to its size inside the padding, to its nearest pixels."""
        height, width = self.compute_inner_size(mask.shape)
        return np.asarray(Image.fromarray(mask).resize((width, height), Image.Resampling.NEAREST))

    def restore_mask(self, fitted: NDArray[np.uint8], shape: tuple[int, ...]) -> NDArray[np.uint8]:
        """Resize a mask from `fit_mask` back to its own shape, H x W, to its nearest pixels."""
        inner = np.ascontiguousarray(fitted[self.locate_inner(shape)])
        return np.asarray(Image.fromarray(inner).resize((shape[1], shape[0]), Image.Resampling.NEAREST))

    def pad_image(self, inner: NDArray[Any]) -> NDArray[Any]:
        """Pad a resized image, H x W x C, with its reflection."""
        if inner.shape[:2] == self.size:
            return inner
        return np.pad(inner, (*self._padding(inner.shape), (0, 0)), mode="reflect")

    def pad_mask(self, inner: NDArray[np.uint8], outside: int) -> NDArray[np.uint8]:
        """Pad a resized mask, H x W, with `outside`."""
        if inner.shape == self.size:
            return inner
        return np.pad(inner, self._padding(inner.shape), constant_values=outside)

    def locate_inner(self, shape: tuple[int, ...]) -> tuple[slice, slice]:
        """Return the rows and columns of the prepared image that show an image of `shape`, H x W, ..."""
        height, width = self.compute_inner_size(shape)
        (top, _), (left, _) = self._padding((height, width))
        return slice(top, top + height), slice(left, left + width)

    def compute_inner_size(self, shape: tuple[int, ...]) -> tuple[int, int]:
        """Compute the height and width, without padding, of a prepared image of `shape`, H x W, ..."""
        if self.mode == "stretch":
            return self.size
        (height, width), (full_height, full_width) = shape[:2], self.size
        if height * full_width > width * full_height:
            return full_height, max(1, round(width * full_height / height))
        return max(1, round(height * full_width / width)), full_width

    def enlarges(self, shape: tuple[int, ...]) -> bool:
        """Return whether an image of `shape`, H x W, ..., gets at least one pixel for each of its own."""
        height, width = self.compute_inner_size(shape)
        return height >= shape[0] and width >= shape[1]

    def _padding(self, inner: tuple[int, ...]) -> tuple[tuple[int, int], tuple[int, int]]:
        """Compute the pixels above and below, left and right of a centered image."""
        top, left = ((full - side) // 2 for full, side in zip(self.size, inner[:2], strict=True))
        return (top, self.size[0] - inner[0] - top), (left, self.size[1] - inner[1] - left)


def _resample(band: NDArray[Any], height: int, width: int) -> NDArray[Any]:
    if band.dtype == np.uint8:
        return np.asarray(Image.fromarray(band).resize((width, height), Image.Resampling.LANCZOS))
    # As float32, which Pillow resamples without losing bits.
    resized = Image.fromarray(band.astype(np.float32)).resize((width, height), Image.Resampling.LANCZOS)
    values: NDArray[Any] = np.clip(np.rint(np.asarray(resized)), 0, 65_535).astype(np.uint16)
    return values
