"""Compare the outlines of predicted and true classes, image by image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from pipeline.analysis.surface import compute_surface_scores
from pipeline.artifacts.image_stack import ImageStack
from pipeline.artifacts.prepared_data import Split
from pipeline.artifacts.scores import DistanceScale
from pipeline.imaging import IGNORE
from pipeline.imaging.pixel_size import PixelSize
from pipeline.imaging.resize import FixedSize
from pipeline.params.data import Data
from pipeline.params.data.original_pixel import find_original_pixel
from pipeline.runtime.shutdown import check_signals

if TYPE_CHECKING:
    import pandas as pd

SurfaceRow = tuple[int, int, tuple[float, ...]]  # index of the image, index of the class, scores

PREPARED_PIXEL = PixelSize(1.0, 1.0, "px")  # distances are in px of the prepared image


def find_prepared_pixels(data: Data, samples: pd.DataFrame) -> list[PixelSize]:
    """Find the size of a pixel of each prepared image.

    Args:
        data: section `data` of the parameters.
        samples: rows of `samples.csv`.

    Returns:
        The sizes in `data.pixel_unit`; `PREPARED_PIXEL` for all images if `data.pixel_size` is not set.
    """
    pixel = find_original_pixel(data)
    if pixel is None:
        return [PREPARED_PIXEL] * len(samples)
    mode = "stretch" if data.size is None else data.resize  # native images have no padding
    columns = (samples[name].tolist() for name in ("height", "width", "prepared_height", "prepared_width"))
    return [
        FixedSize((prepared_height, prepared_width), mode).scale_pixel(pixel, (height, width))
        for height, width, prepared_height, prepared_width in zip(*columns, strict=True)
    ]


def create_scale(tolerance: float, pixels: Sequence[PixelSize]) -> DistanceScale:
    """Create the scale of distances in one or more images with these pixels."""
    sides = [side for pixel in pixels for side in (pixel.height, pixel.width)]
    return DistanceScale(pixels[0].unit, tolerance, min(sides), max(sides))


def measure_surfaces(
    split: Split, masks: ImageStack[np.uint8], tolerance: float, pixels: Sequence[PixelSize]
) -> list[SurfaceRow]:
    """Measure the scores of every class that is in the ground truth or in the prediction of an image.

    Args:
        split: images and their ground truth.
        masks: predicted class indices of the same images.
        tolerance: in the unit of `pixels`.
        pixels: size of a pixel of each image.
    """
    rows: list[SurfaceRow] = []
    for index, (truth, predicted, pixel) in enumerate(zip(split.masks, masks, pixels, strict=True)):
        check_signals()
        spacing = (pixel.height, pixel.width)
        ignored: npt.NDArray[np.bool_] = np.asarray(truth) == IGNORE
        for label in np.union1d(truth[~ignored], predicted[~ignored]):
            scores = compute_surface_scores(truth == label, predicted == label, tolerance, spacing, ignored)
            rows.append((index, int(label), tuple(vars(scores).values())))
    return rows
