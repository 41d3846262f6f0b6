"""Scores of an ensemble beside those of its members, with intervals of the differences.

The cross-entropy of the mean of several predictions is never above the mean of their cross-entropies (Jensen's
inequality). The other scores can be worse. An interval covers the choice of the images, which are the same for the
ensemble and its members, so that it is narrower than the interval of a score. It does not cover the choice of the
seeds.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.analysis.clustered_mean import Integers
from pipeline.analysis.metrics import compute_pooled_scores
from pipeline.analysis.score_intervals import compute_pseudo_values, estimate_mean_intervals
from pipeline.artifacts.ensemble_folder import EnsembleScore
from pipeline.artifacts.prepared_data import SegmentationClass

Floats = npt.NDArray[np.float64]

OVERALL = ("loss", "accuracy", "mean_iou", "foreground_iou", "mean_dice")  # scores over all classes
BY_CLASS = "dice"


@dataclass(frozen=True)
class ImageScores:
    """A network's losses and confusion matrices for N images and C classes, which determine its scores."""

    losses: Floats  # N, mean cross-entropy in nats of an image's evaluated pixels; NaN without any
    confusion: Integers  # N x C x C, evaluated pixels by ground truth (rows) and prediction (columns)


def compare_with_members(
    split: str, networks: Sequence[ImageScores], groups: tuple[Integers, ...], classes: Sequence[SegmentationClass]
) -> Iterator[EnsembleScore]:
    """Compute the scores of an ensemble and of its members on the same images.

    Args:
        split: The split of the images.
        networks: The ensemble, and then each member.
        groups: As in `GroupedLosses`.
        classes: The classes.
    """
    foreground = np.array([item.foreground for item in classes])
    is_evaluated = networks[0].confusion.any(axis=(1, 2))  # other images have no scores, so no interval may count them
    sums = np.stack([_sum_by_image(network, foreground) for network in networks], axis=1)[is_evaluated]
    num_images, *shape = sums.shape

    def score(flat: Floats) -> Floats:
        """Map sums of R sets of images to their scores: R x networks x scores."""
        by_network = _compute_scores(flat.reshape(-1, shape[1]), len(classes))
        return by_network.reshape(len(flat), shape[0], by_network.shape[1])

    def compute_difference(flat: Floats) -> Floats:
        scores = score(flat)
        difference: Floats = scores[:, 0] - scores[:, 1:].mean(axis=1)
        return difference

    flat = sums.reshape(num_images, math.prod(shape))
    values = score(flat.sum(axis=0)[None])[0]
    pseudo_values = compute_pseudo_values(flat, compute_difference)
    names = [*((name, "") for name in OVERALL), *((BY_CLASS, item.name) for item in classes)]
    limits = np.array([(-np.inf, np.inf) if name == "loss" else (-1.0, 1.0) for name, _ in names])
    intervals = estimate_mean_intervals(pseudo_values, tuple(labels[is_evaluated] for labels in groups), limits)
    for place, ((name, class_name), interval) in enumerate(zip(names, intervals, strict=True)):
        own, *members = values[:, place].tolist()
        yield EnsembleScore.create(split, name, class_name, own, members, interval)


def _sum_by_image(network: ImageScores, foreground: npt.NDArray[np.bool_]) -> Floats:
    """Compute what each image adds to the sums that the scores depend on.

    Returns:
        N x (3 + 3 C): sum of the losses; pixels in the intersection and in the union of the merged foreground classes;
        pixels of each class in the ground truth and in the prediction; correct pixels of each class.
    """
    confusion = network.confusion
    truth, predicted = confusion.sum(axis=2), confusion.sum(axis=1)
    losses = np.nan_to_num(network.losses) * truth.sum(axis=1)
    hits = confusion[:, foreground][:, :, foreground].sum(axis=(1, 2))
    union = truth[:, foreground].sum(axis=1) + predicted[:, foreground].sum(axis=1) - hits
    if foreground.all():  # any prediction would score 1
        union = np.zeros_like(union)
    correct = np.diagonal(confusion, axis1=1, axis2=2)
    return np.column_stack([losses, hits, union, truth, predicted, correct]).astype(np.float64)


def _compute_scores(sums: Floats, num_classes: int) -> Floats:
    """Compute the scores from sums over images: R x (3 + 3 C) to R x scores; NaN if undefined."""
    losses, hits, union = sums[:, :3].T
    pixels = sums[:, 3:].reshape(-1, 3, num_classes)
    pooled = compute_pooled_scores(pixels) | {
        "loss": _divide(losses, pixels[:, 0].sum(axis=1))[:, None],
        "foreground_iou": _divide(hits, union)[:, None],
    }
    return np.concatenate([*(pooled[name] for name in OVERALL), pooled[BY_CLASS]], axis=1)


def _divide(part: Floats, whole: Floats) -> Floats:
    return np.asarray(part / np.where(whole == 0, np.nan, whole), dtype=np.float64)
