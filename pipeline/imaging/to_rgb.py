"""Images of any channels and depth as a person can look at them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

EXTREMES = (0.5, 99.5)  # per cent of a 16-bit image's values that are shown as black or white


def in_colour(image: NDArray[Any]) -> NDArray[np.uint8]:
    """An image (H x W x C) as H x W x 3, 8 bits a channel.

    Of three channels or more the first three, as red, green and blue; of fewer the first one, as grey. 16 bits are
    stretched over the image's own range without its extremes: cameras of 12 bits would give black pictures, and so
    would a single hot pixel.
    """
    channels = image[..., :3] if image.shape[-1] >= 3 else image[..., :1]
    if channels.dtype != np.uint8:
        low, high = np.percentile(channels, EXTREMES)
        channels = ((channels.astype(np.float32) - low) * (255 / max(high - low, 1))).clip(0, 255).astype(np.uint8)
    return np.broadcast_to(channels, (*image.shape[:2], 3))
