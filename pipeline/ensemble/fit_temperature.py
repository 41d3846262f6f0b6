"""Fit the temperature of an ensemble on the validation images."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pipeline.analysis.clustered_mean import MIN_GROUPS
from pipeline.analysis.temperature import INVERSES, MAX_TEMPERATURE, MIN_TEMPERATURE, Floats, find_temperature
from pipeline.artifacts.ensemble_folder import Temperature
from pipeline.artifacts.prepared_data import Split
from pipeline.imaging import IGNORE
from pipeline.inference.prediction import predict_parts
from pipeline.inference.trained_run import TrainedRun
from pipeline.wording import pluralize


def fit_temperature(run: TrainedRun, validation: Split, groups: tuple[npt.NDArray[np.int64], ...]) -> Temperature:
    """Find the temperature with the lowest cross-entropy of the network over all evaluated pixels.

    Pixels of an image, and images of a group, resemble each other. With few groups, the temperature is often worse than
    none (docs/how-to/ensembles.md has numbers), so none is fitted with fewer groups than an interval requires.

    Args:
        run: The run, or the ensemble; its network must have no temperature yet.
        validation: The validation images. None of them may be a training image of the network.
        groups: As in `GroupedLosses`.

    Returns:
        The temperature. It is 1, with the reason, if the groups are too few, or if the cross-entropy is lowest at an
        end of the range of temperatures.
    """
    evaluated = np.array([(mask != IGNORE).any() for mask in validation.masks], dtype=bool)
    num_groups = min(len(np.unique(labels[evaluated])) for labels in groups)
    if num_groups < MIN_GROUPS:
        return Temperature(
            1.0,
            "No temperature was fitted, because the validation images with evaluated pixels are from "
            f"{pluralize(num_groups, 'group')}, fewer than {MIN_GROUPS}. Images without a group count as one each.",
        )
    found = find_temperature(collect_derivatives(run, validation).sum(axis=0))
    if found is None:
        return Temperature(
            1.0,
            "No temperature was fitted, because the validation loss is lowest at an end of the range from "
            f"{MIN_TEMPERATURE:g} to {MAX_TEMPERATURE:g}.",
        )
    return Temperature(found, "")


def collect_derivatives(run: TrainedRun, split: Split) -> Floats:
    """Predict a split, and sum the derivatives of the cross-entropy by the inverse temperature over each image.

    Returns:
        Sums over the evaluated pixels of each image, N x number of `INVERSES`.
    """
    sums = np.zeros((len(split), len(INVERSES)))
    parts = predict_parts(run.network, split, len(run.data.classes), run.precision, run.tiles)
    for first, _, log_probs, truth in parts:
        for index, (logits, labels) in enumerate(zip(log_probs, truth, strict=True), start=first):
            evaluated = labels != IGNORE
            sums[index] += sum_derivatives(logits[:, evaluated], labels[evaluated]).cpu().numpy()
    return sums


def sum_derivatives(logits: Tensor, truth: Tensor) -> Tensor:
    """Sum the derivatives of the cross-entropy by the inverse temperature over pixels.

    Args:
        logits: Logits, classes x pixels.
        truth: True class of each pixel.

    Returns:
        Sums at `INVERSES`, float64.
    """
    of_truth = logits.gather(0, truth[None])[0]
    expected = (((logits * inverse).softmax(dim=0) * logits).sum(dim=0) for inverse in INVERSES.tolist())
    return torch.stack([(one - of_truth).sum(dtype=torch.float64) for one in expected])
