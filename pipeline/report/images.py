"""Images on a page: their arrays, their size on the page, and their legend."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar, cast

import numpy as np
import numpy.typing as npt

from pipeline.imaging.resize import FixedSize, Resize

Mask = npt.NDArray[np.uint8]  # H x W, class indices or IGNORE
ImageArray = npt.NDArray[np.uint8 | np.uint16]  # H x W x C
Pixels = TypeVar("Pixels", bound=npt.NDArray[Any])

MAX_SIZE = 512  # px; larger images are shrunk to this size, at which most screens show enlarged images


@dataclass(frozen=True)
class EmbeddedImage:
    """An image embedded in the page."""

    src: str  # data URI
    alt: str
    caption: str
    width: int  # px of the file, not of the page
    height: int
    is_mask: bool  # pixels of masks stay sharp when enlarged; images are interpolated
    aspect: float  # width / height on the page, which differs from the file's for stretched images
    stretched: bool = False  # whether the contrast is increased for display


@dataclass(frozen=True)
class LegendEntry:
    """A color and its meaning."""

    color: str  # #rrggbb
    text: str


@dataclass(frozen=True)
class Frame:
    """The size of an original image, how it was resized to its prepared image, and how large it is shown."""

    height: int  # px of the original
    width: int  # px of the original
    resize: Resize
    max_size: int = MAX_SIZE  # px, longer side of the embedded image

    @property
    def aspect(self) -> float:
        """Width / height of the original."""
        return self.width / self.height

    def crop(self, values: Pixels) -> Pixels:
        """Remove the padding of a prepared image (H x W x C) or mask (H x W)."""
        resizing = FixedSize(values.shape[:2], self.resize)
        return cast("Pixels", values[resizing.locate_inner((self.height, self.width))])
