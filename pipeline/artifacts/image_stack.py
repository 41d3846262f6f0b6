"""Images or masks of equal or different sizes, one after another in one array."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt

Pixel = TypeVar("Pixel", bound=np.generic)


@dataclass(frozen=True)
class ImageStack(Generic[Pixel]):
    """N images or masks; each is a view of the pixels, without a copy.

    Attributes:
        pixels: P x C for images, P for masks, where P is the number of pixels of all of them; may be memory-mapped.
        sizes: N x 2, height and width of each.

    Raises:
        ValueError: The sizes are not those of the pixels.
    """

    pixels: npt.NDArray[Pixel]
    sizes: npt.NDArray[np.int64]

    def __post_init__(self) -> None:
        if self._offsets[-1] != len(self.pixels):
            raise ValueError(f"{len(self.pixels)} pixels cannot be {len(self)} images of {self._offsets[-1]} pixels")

    @classmethod
    def of(cls, images: npt.NDArray[Pixel] | Sequence[npt.NDArray[Pixel]]) -> ImageStack[Pixel]:
        """Stack images (H x W x C) or masks (H x W), at least one; those of an array N x H x W, ... are not copied."""
        sizes = np.array([image.shape[:2] for image in images], np.int64)
        inner = images[0].shape[2:]
        if isinstance(images, np.ndarray):
            return cls(images.reshape(-1, *inner), sizes)
        return cls(np.concatenate([image.reshape(-1, *inner) for image in images]), sizes)

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
        """Bytes of the pixels."""
        return self.pixels.nbytes

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.sizes)

    def __getitem__(self, index: int) -> npt.NDArray[Pixel]:
        """Return an image, H x W x C, or a mask, H x W."""
        height, width = self.sizes[index]
        start = self._offsets[:-1][index]
        return self.pixels[start : start + height * width].reshape(height, width, *self.pixels.shape[1:])

    def __iter__(self) -> Iterator[npt.NDArray[Pixel]]:
        """Iterate over the images."""
        return (self[index] for index in range(len(self)))

    def as_array(self) -> npt.NDArray[Pixel]:
        """View images of equal size as one array, N x H x W x C, or N x H x W for masks."""
        assert self.size is not None
        return self.pixels.reshape(len(self), *self.size, *self.pixels.shape[1:])

    def take(self, index: npt.NDArray[np.int64]) -> ImageStack[Pixel]:
        """Copy some of the images into a new stack."""
        if self.size is not None:
            return ImageStack(self.as_array()[index].reshape(-1, *self.pixels.shape[1:]), self.sizes[index])
        parts: list[npt.NDArray[Any]] = [self.pixels[self._offsets[i] : self._offsets[i + 1]] for i in index]
        return ImageStack(np.concatenate(parts), self.sizes[index])

    @cached_property
    def _offsets(self) -> npt.NDArray[np.int64]:
        """Place of each image's first pixel, and the end of the last one: N + 1."""
        return np.concatenate([[0], self.sizes.prod(axis=1).cumsum()])
