"""Images or masks of equal or different sizes, one after another in one array."""

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
    """N images or masks; each is a view of the pixels, without a copy.

    Attributes:
        pixels: P x C for images, P for masks; may be memory-mapped.
        sizes: N x 2, height and width of each.
        starts: N, the place of the first pixel of each; its others follow, row by row.
    """

    pixels: npt.NDArray[Pixel]
    sizes: npt.NDArray[np.int64]
    starts: npt.NDArray[np.int64]

    @classmethod
    def split(cls, pixels: npt.NDArray[Pixel], sizes: npt.NDArray[np.int64]) -> ImageStack[Pixel]:
        """Split pixels into images of these sizes (N x 2), one directly after another.

        Raises:
            ValueError: The sizes are not those of the pixels.
        """
        ends = sizes.prod(axis=1).cumsum()
        if (total := int(ends[-1]) if len(ends) else 0) != len(pixels):
            raise ValueError(f"{len(pixels)} pixels cannot be {len(sizes)} images of {total} pixels")
        return cls(pixels, sizes, ends - sizes.prod(axis=1))

    @classmethod
    def of(cls, images: npt.NDArray[Pixel] | Sequence[npt.NDArray[Pixel]]) -> ImageStack[Pixel]:
        """Stack images (H x W x C) or masks (H x W), at least one; those of an array N x H x W, ... are not copied."""
        sizes = np.array([image.shape[:2] for image in images], np.int64)
        inner = images[0].shape[2:]
        if isinstance(images, np.ndarray):
            return cls.split(images.reshape(-1, *inner), sizes)
        return cls.split(np.concatenate([image.reshape(-1, *inner) for image in images]), sizes)

    @classmethod
    def empty(cls, sizes: npt.NDArray[np.int64], dtype: type[Pixel]) -> ImageStack[Pixel]:
        """Create masks of these sizes (N x 2), whose values are arbitrary."""
        return cls.split(np.empty(sizes.prod(axis=1).sum(), dtype), sizes)

    @cached_property
    def size(self) -> tuple[int, int] | None:
        """Height and width that all images have; None if they differ, or without images."""
        if not len(self) or (self.sizes != self.sizes[0]).any():
            return None
        height, width = self.sizes[0]
        return int(height), int(width)

    @property
    def size_range(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Heights and widths of the images with the fewest and the most pixels."""
        areas = self.sizes.prod(axis=1)
        (low, left), (high, right) = self.sizes[areas.argmin()], self.sizes[areas.argmax()]
        return (int(low), int(left)), (int(high), int(right))

    @property
    def dtype(self) -> np.dtype[Pixel]:
        """Type of the pixels."""
        return self.pixels.dtype

    @property
    def nbytes(self) -> int:
        """Bytes of the images' pixels."""
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
        """Select some of the images, in the order of the index, without a copy."""
        return replace(self, sizes=self.sizes[index], starts=self.starts[index])
