"""Images or masks, of equal or different sizes, stored one after another in one array."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt

Pixel = TypeVar("Pixel", bound=np.generic)


@dataclass(frozen=True)
class ImageStack(Generic[Pixel]):
    """N images or masks in one array of pixels; accessing an image returns a view.

    Attributes:
        pixels: Pixels of all images, P x C, or of all masks, P; may be memory-mapped.
        sizes: Height and width of each image, N x 2.
        starts: Index of the first pixel of each image, N; its other pixels follow row by row.
    """

    pixels: npt.NDArray[Pixel]
    sizes: npt.NDArray[np.int64]
    starts: npt.NDArray[np.int64]

    @classmethod
    def split(cls, pixels: npt.NDArray[Pixel], sizes: npt.NDArray[np.int64]) -> ImageStack[Pixel]:
        """Split an array of pixels into consecutive images of these sizes (N x 2, height and width).

        Raises:
            ValueError: The sizes do not add up to the number of pixels.
        """
        ends = sizes.prod(axis=1).cumsum()
        if (total := int(ends[-1]) if len(ends) else 0) != len(pixels):
            raise ValueError(
                f"{len(pixels)} pixels cannot be split into {len(sizes)} images with {total} pixels in total"
            )
        return cls(pixels, sizes, ends - sizes.prod(axis=1))

    @classmethod
    def of(cls, images: npt.NDArray[Pixel] | Sequence[npt.NDArray[Pixel]]) -> ImageStack[Pixel]:
        """Stack at least one image (H x W x C) or mask (H x W); an array N x H x W (x C) is not copied."""
        sizes = np.array([image.shape[:2] for image in images], np.int64)
        inner = images[0].shape[2:]
        if isinstance(images, np.ndarray):
            return cls.split(images.reshape(-1, *inner), sizes)
        return cls.split(np.concatenate([image.reshape(-1, *inner) for image in images]), sizes)

    @classmethod
    def empty(cls, sizes: npt.NDArray[np.int64], dtype: type[Pixel]) -> ImageStack[Pixel]:
        """Create masks of these sizes (N x 2, height and width) with arbitrary values."""
        return cls.split(np.empty(sizes.prod(axis=1).sum(), dtype), sizes)

    @cached_property
    def size(self) -> tuple[int, int] | None:
        """Height and width of all images; None if they differ, or if there are no images."""
        if not len(self) or (self.sizes != self.sizes[0]).any():
            return None
        height, width = self.sizes[0]
        return int(height), int(width)

    @property
    def size_range(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Height and width of the image with the fewest pixels, and of the image with the most."""
        areas = self.sizes.prod(axis=1)
        (low, left), (high, right) = self.sizes[areas.argmin()], self.sizes[areas.argmax()]
        return (int(low), int(left)), (int(high), int(right))

    @property
    def dtype(self) -> np.dtype[Pixel]:
        """Type of the pixels."""
        return self.pixels.dtype

    @property
    def nbytes(self) -> int:
        """Size of all pixels in bytes."""
        return int(self.sizes.prod(axis=1).sum() * np.prod(self.pixels.shape[1:], dtype=int)) * self.dtype.itemsize

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.sizes)

    def __getitem__(self, index: int) -> npt.NDArray[Pixel]:
        """Return an image, H x W x C, or a mask, H x W."""
        height, width = self.sizes[index]
        start = self.starts[index]
        return self.pixels[start : start + height * width].reshape(height, width, *self.pixels.shape[1:])

    def __iter__(self) -> Iterator[npt.NDArray[Pixel]]:
        """Iterate over the images."""
        return (self[index] for index in range(len(self)))

    def take(self, index: npt.NDArray[np.int64]) -> ImageStack[Pixel]:
        """Select images by their indices, in this order, without copying them."""
        return replace(self, sizes=self.sizes[index], starts=self.starts[index])
