"""Convert images with any number of channels and any bit depth to RGB for display."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

PERCENTILES = (0.5, 99.5)  # percentiles of the values of a 16-bit image that are shown as black and white


def to_rgb(image: NDArray[Any]) -> NDArray[np.uint8]:
    """Convert an image (H x W x C) to RGB (H x W x 3) with 8 bits per channel.

    The first three channels become red, green and blue. With fewer than three channels, the first one becomes gray.
    16-bit values are scaled to the image's own range without its extremes. Otherwise, images from a 12-bit camera or
    with a single hot pixel would be nearly black.
    """
    channels = image[..., :3] if image.shape[-1] >= 3 else image[..., :1]
    if channels.dtype != np.uint8:
        low, high = np.percentile(channels, PERCENTILES)
        channels = ((channels.astype(np.float32) - low) * (255 / max(high - low, 1))).clip(0, 255).astype(np.uint8)
    return np.broadcast_to(channels, (*image.shape[:2], 3))
