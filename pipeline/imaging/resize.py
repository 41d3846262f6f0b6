"""Resize images and masks to the prepared size, and masks back to their original size."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .pixel_size import PixelSize
from .windows import Window, WindowedImage

_LANCZOS_REACH = 3  # radius of the filter, in pixels of the smaller image

Resize = Literal["stretch", "letterbox"]
Value = TypeVar("Value", bound=np.integer[Any])


class Resizing(ABC):
    """Resizing of images and masks to the prepared size, and of masks back to their original size."""

    @classmethod
    def create(cls, size: tuple[int, int] | None, mode: Resize, downscale: float = 1.0) -> Resizing:
        """Create a resizing to a height and width in px or, if `size` is None, by the factor 1 / `downscale`."""
        return NativeSize(downscale) if size is None else FixedSize(size, mode)

    @abstractmethod
    def compute_inner_size(self, shape: tuple[int, ...]) -> tuple[int, int]:
        """Compute the height and width in px of an image of `shape` (H x W, ...) after resizing, without padding."""

    def compute_padding(self, inner: tuple[int, ...]) -> tuple[tuple[int, int], tuple[int, int]]:  # noqa: ARG002
        """Compute the padding in px, (top, bottom) and (left, right), of a resized image of shape `inner`."""
        return (0, 0), (0, 0)

    def fit_image(self, image: NDArray[Any]) -> NDArray[Any]:
        """Resize and pad an image (H x W x C, uint8 or uint16). The Lanczos filter averages pixels if it downscales."""
        height, width = self.compute_inner_size(image.shape)
        inner = image if (height, width) == image.shape[:2] else _resample(image, height, width)
        return self.pad_image(inner)

    def fit_mask(self, mask: NDArray[np.uint8], outside: int) -> NDArray[np.uint8]:
        """Resize a mask (H x W) by nearest neighbor, and pad it with the value `outside`."""
        return self.pad_mask(self.resize_mask(mask), outside)

    def resize_mask(self, mask: NDArray[np.integer[Any]]) -> NDArray[Any]:
        """Resize a mask (H x W, uint8 or int32) by nearest neighbor, without padding."""
        height, width = self.compute_inner_size(mask.shape)
        return np.asarray(Image.fromarray(mask).resize((width, height), Image.Resampling.NEAREST))

    def restore_mask(self, fitted: NDArray[np.uint8], shape: tuple[int, ...]) -> NDArray[np.uint8]:
        """Resize a mask from `fit_mask` back to its original `shape` (H x W) by nearest neighbor."""
        inner = np.ascontiguousarray(fitted[self.locate_inner(shape)])
        return np.asarray(Image.fromarray(inner).resize((shape[1], shape[0]), Image.Resampling.NEAREST))

    def pad_image(self, inner: NDArray[Any]) -> NDArray[Any]:
        """Pad a resized image (H x W x C) by reflection.

        Black bars would add edges to the image, and would lower the mean that batch normalization measures.
        """
        rows, columns = self.compute_padding(inner.shape)
        return np.pad(inner, (rows, columns, (0, 0)), mode="reflect") if any(rows + columns) else inner

    def pad_mask(self, inner: NDArray[Value], outside: int) -> NDArray[Value]:
        """Pad a resized mask (H x W) with the value `outside`."""
        rows, columns = self.compute_padding(inner.shape)
        return np.pad(inner, (rows, columns), constant_values=outside) if any(rows + columns) else inner

    def locate_inner(self, shape: tuple[int, ...]) -> tuple[slice, slice]:
        """Return the rows and columns of a prepared image without padding, given its original `shape` (H x W, ...)."""
        height, width = self.compute_inner_size(shape)
        (top, _), (left, _) = self.compute_padding((height, width))
        return slice(top, top + height), slice(left, left + width)

    def scale_pixel(self, pixel: PixelSize, shape: tuple[int, ...]) -> PixelSize:
        """Compute the size of a prepared image's pixel from that of its original image of `shape` (H x W, ...)."""
        height, width = self.compute_inner_size(shape)
        return PixelSize(pixel.height * shape[0] / height, pixel.width * shape[1] / width, pixel.unit)

    def enlarges(self, shape: tuple[int, ...]) -> bool:
        """Return whether an image of `shape` (H x W, ...) keeps its height and width or becomes larger."""
        height, width = self.compute_inner_size(shape)
        return height >= shape[0] and width >= shape[1]


@dataclass(frozen=True)
class FixedSize(Resizing):
    """Resizing that stretches all images to one size, or centers and pads them. Padding is not evaluated."""

    size: tuple[int, int]  # height and width, px
    mode: Resize

    def compute_inner_size(self, shape: tuple[int, ...]) -> tuple[int, int]:
        """Compute the height and width of a resized image, without padding."""
        if self.mode == "stretch":
            return self.size
        (height, width), (full_height, full_width) = shape[:2], self.size
        if height * full_width > width * full_height:
            return full_height, max(1, round(width * full_height / height))
        return max(1, round(height * full_width / width)), full_width

    def compute_padding(self, inner: tuple[int, ...]) -> tuple[tuple[int, int], tuple[int, int]]:
        """Compute the padding that centers a resized image."""
        top, left = (self.size[0] - inner[0]) // 2, (self.size[1] - inner[1]) // 2
        return (top, self.size[0] - inner[0] - top), (left, self.size[1] - inner[1] - left)


@dataclass(frozen=True)
class NativeSize(Resizing):
    """Resizing that divides the size of each image by a factor."""

    downscale: float = 1.0

    def compute_inner_size(self, shape: tuple[int, ...]) -> tuple[int, int]:
        """Compute the height and width of a resized image."""
        height, width = (max(1, round(side / self.downscale)) for side in shape[:2])
        return height, width

    def fit_window(self, image: WindowedImage, window: Window) -> NDArray[Any]:
        """Return a window of the prepared image, reading only the pixels that the filter needs."""
        sides = self.compute_inner_size(image.shape)
        if sides == image.shape[:2]:
            return image[window]
        read, box = [], []
        for places, side, length in zip(window, sides, image.shape[:2], strict=False):
            scale = length / side
            start, stop = places.start * scale, places.stop * scale
            margin = _LANCZOS_REACH * max(scale, 1.0) + 1
            read.append(slice(max(0, math.floor(start - margin)), min(length, math.ceil(stop + margin))))
            box.append((start - read[-1].start, stop - read[-1].start))
        (top, bottom), (left, right) = box
        part = image[read[0], read[1]]
        height, width = (places.stop - places.start for places in window)
        return _resample(part, height, width, (left, top, right, bottom))


def _resample(
    image: NDArray[Any], height: int, width: int, box: tuple[float, float, float, float] | None = None
) -> NDArray[Any]:
    """Resize an image (H x W x C), or the part of it in a box (left, top, right, bottom)."""
    if image.dtype == np.uint8:
        if image.shape[-1] == 3:  # Pillow resamples all three channels at once
            return _resample_columns_first(image, height, width, box)
        resized = [_resample_columns_first(image[..., i], height, width, box) for i in range(image.shape[-1])]
        return np.stack(resized, axis=-1)
    # Pillow resamples 16 bits without loss only as float32.
    bands = (image[..., i].astype(np.float32) for i in range(image.shape[-1]))
    values = np.stack([_resample_columns_first(band, height, width, box) for band in bands], axis=-1)
    rounded: NDArray[Any] = np.clip(np.rint(values), 0, 65_535).astype(np.uint16)
    return rounded


def _resample_columns_first(
    pixels: NDArray[Any], height: int, width: int, box: tuple[float, float, float, float] | None
) -> NDArray[Any]:
    """Resize the width first, then the height.

    Pillow would choose the order based on the shape. Because it clips values to 0 to 255 after each pass, a narrow
    window would then differ from the same pixels of the whole image by up to 16 of 255 levels.
    """
    left, top, right, bottom = box or (0, 0, pixels.shape[1], pixels.shape[0])
    image = Image.fromarray(pixels)
    image = image.resize((width, image.height), Image.Resampling.LANCZOS, (left, 0, right, image.height))
    return np.asarray(image.resize((width, height), Image.Resampling.LANCZOS, (0, top, width, bottom)))
