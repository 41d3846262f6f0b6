"""The part of a prepared square that shows the original image, its proportions and its size in the page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar, cast

import numpy.typing as npt

from pipeline.imaging.resize import Resize, locate_inner

Pixels = TypeVar("Pixels", bound=npt.NDArray[Any])

LARGEST = 512  # px; larger images are shrunk to it, which is as large as an enlarged one appears on most screens


@dataclass(frozen=True)
class Frame:
    """How an original was fitted into its square, and how large it is shown."""

    height: int  # px, of the original, as width
    width: int
    resize: Resize
    largest: int = LARGEST  # px, of the longer side of its file in the page

    @property
    def aspect(self) -> float:
        """Width by height of the original."""
        return self.width / self.height

    def crop(self, values: Pixels) -> Pixels:
        """Cut the padding off an image or a mask (H x W or H x W x C, prepared, H = W)."""
        return cast("Pixels", values[locate_inner((self.height, self.width), values.shape[0], self.resize)])
