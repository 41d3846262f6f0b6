"""Prepared images with other channels than RGB."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pipeline.artifacts.prepared_data import SHOWCASE, SPLITS, PreparedData
from pipeline.artifacts.project import PREPARED


def replace_images(project: Path, channels: int, dtype: type) -> np.ndarray:
    """Replace all prepared images by random ones whose first channel shows the mask; return those of the showcase."""
    random, full = np.random.default_rng(0), np.iinfo(dtype).max
    for split in (*SPLITS, SHOWCASE):
        folder = project / PREPARED / split
        masks = np.load(folder / PreparedData.MASKS)
        images = random.integers(0, full, (*masks.shape, channels), dtype, endpoint=True)
        images[..., 0] = (masks == 0) * full
        np.save(folder / PreparedData.IMAGES, images)
    return images
