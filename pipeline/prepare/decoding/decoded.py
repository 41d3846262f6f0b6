"""What decoding makes of a pair."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.imaging.mask_decoding import Palette
from pipeline.imaging.metadata import ImageMetadata
from pipeline.prepare.decoding.look_alikes import Appearance


@dataclass(frozen=True, eq=False)
class Decoded:
    """A pair at the size of the prepared arrays, and what is known of its files."""

    image: NDArray[Any]  # H x W x C, uint8 or uint16
    mask: NDArray[np.uint8]  # H x W, class index or IGNORE
    height: int  # px, of the original, as width
    width: int
    sha256: str  # of the image's file, followed by what the mask is made of
    image_sha256: str  # of the image's file alone
    stored: ImageMetadata
    appearance: Appearance
    palette: Palette = ()  # of the mask's file: index and color of the entries that occur, where indices are classes
