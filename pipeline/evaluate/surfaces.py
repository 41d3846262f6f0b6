"""Compare the outlines of predicted and true classes, image by image."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pipeline.analysis.surface import compute_surface_scores
from pipeline.artifacts.image_stack import ImageStack
from pipeline.artifacts.prepared_data import Split
from pipeline.imaging import IGNORE
from pipeline.runtime.shutdown import check_signals

SurfaceRow = tuple[int, int, tuple[float, ...]]  # index of the image, index of the class, scores


def measure_surfaces(split: Split, masks: ImageStack[np.uint8], tolerance: float) -> list[SurfaceRow]:
    """Measure the scores of every class that is in the ground truth or in the prediction of an image.

    Args:
        split: images and their ground truth.
        masks: predicted class indices of the same images.
        tolerance: in px of the prepared images.
    """
    rows: list[SurfaceRow] = []
    for index, (truth, predicted) in enumerate(zip(split.masks, masks, strict=True)):
        check_signals()
        ignored: npt.NDArray[np.bool_] = np.asarray(truth) == IGNORE
        for label in np.union1d(truth[~ignored], predicted[~ignored]):
            scores = compute_surface_scores(truth == label, predicted == label, tolerance, ignored=ignored)
            rows.append((index, int(label), tuple(vars(scores).values())))
    return rows
