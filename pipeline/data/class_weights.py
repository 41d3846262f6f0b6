"""Class weights of the training loss: given by name, or computed from the pixels of the training images."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from pipeline.artifacts.prepared_data import SegmentationClass, Split
from pipeline.data.patch_loader import create_loader
from pipeline.errors import PipelineError
from pipeline.params.train import ClassBalance, Train, find_weight_mistakes
from pipeline.wording import join_names

Floats = npt.NDArray[np.float64]

logger = logging.getLogger("pipeline.train")


def compute_class_weights(settings: Train, training: Split, classes: Sequence[SegmentationClass]) -> list[float] | None:
    """Compute one weight per class, in the order of the classes; None if the settings have no class weights.

    Classes that do not occur in the training images have a weight of 0 and are named in a warning.

    Raises:
        PipelineError: The settings do not have one weight for each class.
    """
    chosen, names = settings.class_weights, [one.name for one in classes]
    if chosen is None:
        return None
    if isinstance(chosen, dict):
        if mistakes := find_weight_mistakes(chosen, names):
            raise PipelineError("\n".join(mistakes))
        return [chosen[name] for name in names]
    pixels = create_loader(training, torch.device("cpu"), settings, classes).count_pixels(len(classes))
    weights = balance_classes(pixels, chosen).tolist()
    if absent := [name for name, weight in zip(names, weights, strict=True) if not weight]:
        logger.warning(
            "train.class_weights: the training images have no pixels of some classes, whose weight is 0: %s.",
            join_names(absent),
        )
    return list(weights)


def balance_classes(pixels: Floats, method: ClassBalance) -> Floats:
    """Compute weights that are higher for rarer classes.

    `inverse` divides 1 by the product of a class's share and the number of classes, so that all classes have the same
    total weight and the mean weight of a pixel is 1. `median_frequency` divides the median of the class frequencies by
    the frequency of a class, which is its share of the pixels of the images in which it occurs (Eigen and Fergus 2015).

    Args:
        pixels: Images x classes, number of evaluated pixels of each class in each image.
        method: The formula.

    Returns:
        A weight for each class; 0 for those that do not occur.
    """
    occurs = pixels.sum(axis=0) > 0
    of_class = pixels[:, occurs].sum(axis=0)
    weights = np.zeros(len(occurs))
    if method == "inverse":
        weights[occurs] = of_class.sum() / (len(of_class) * of_class)
    elif occurs.any():
        of_images = (pixels.sum(axis=1, keepdims=True) * (pixels[:, occurs] > 0)).sum(axis=0)
        frequencies = of_class / of_images
        weights[occurs] = np.median(frequencies) / frequencies
    return weights
