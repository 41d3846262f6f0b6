"""Scores of an ensemble beside those of its members."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest

from pipeline.analysis.ensemble_scores import ImageScores, compare_with_members
from pipeline.analysis.scores import compute_foreground_iou, compute_mean_iou
from pipeline.artifacts.ensemble_folder import EnsembleScore
from pipeline.artifacts.prepared_data import SegmentationClass

CLASSES = (
    SegmentationClass("cat", "#ff0000", foreground=True),
    SegmentationClass("dog", "#00ff00", foreground=True),
    SegmentationClass("ground", "#0000ff", foreground=False),
)
NUM_IMAGES = 40


def draw_network(seed: int, accuracy: float) -> ImageScores:
    generator = np.random.default_rng(seed)
    confusion = generator.integers(0, 100, (NUM_IMAGES, 3, 3))
    confusion += (np.eye(3) * confusion.sum(axis=(1, 2), keepdims=True) * accuracy).astype(np.int64)
    return ImageScores(generator.gamma(2, 0.1, NUM_IMAGES), confusion)


def compare(networks: Sequence[ImageScores], groups: int = NUM_IMAGES) -> dict[tuple[str, str], EnsembleScore]:
    labels = np.arange(len(networks[0].losses)) % groups
    return {(row.score, row.class_name): row for row in compare_with_members("test", networks, (labels,), CLASSES)}


def test_scores_are_those_of_the_pooled_confusion_matrix() -> None:
    networks = [draw_network(seed, accuracy) for seed, accuracy in enumerate((0.9, 0.6, 0.5, 0.7))]
    rows = compare(networks)
    foreground = np.array([True, True, False])
    pooled = [network.confusion.sum(axis=0) for network in networks]
    for name, values in {
        "mean_iou": [float(compute_mean_iou(one)) for one in pooled],
        "foreground_iou": [float(compute_foreground_iou(one, foreground)) for one in pooled],
        "accuracy": [float(np.trace(one) / one.sum()) for one in pooled],
        "loss": [float(np.average(network.losses, weights=network.confusion.sum(axis=(1, 2)))) for network in networks],
    }.items():
        row = rows[name, ""]
        assert row.ensemble == pytest.approx(values[0])
        assert row.members_mean == pytest.approx(np.mean(values[1:]))
        assert row.members_sd == pytest.approx(np.std(values[1:], ddof=1))
        assert row.difference == pytest.approx(values[0] - np.mean(values[1:]))
    whole = pooled[0]
    assert rows["dice", "dog"].ensemble == pytest.approx(2 * whole[1, 1] / (whole[1].sum() + whole[:, 1].sum()))


def test_interval_contains_the_difference_and_is_zero_wide_for_equal_networks() -> None:
    networks = [draw_network(seed, 0.6) for seed in range(4)]
    for row in compare(networks).values():
        assert row.low is not None
        assert row.high is not None
        assert row.difference is not None
        assert row.low < row.difference < row.high
    for row in compare([networks[0]] * 3).values():
        assert (row.difference, row.low, row.high) == pytest.approx((0, 0, 0), abs=1e-12)


def test_interval_is_missing_with_fewer_than_ten_groups() -> None:
    networks = [draw_network(seed, 0.6) for seed in range(3)]
    assert all(row.low is None and row.high is None for row in compare(networks, groups=9).values())


def test_scores_of_a_class_that_does_not_occur_are_undefined() -> None:
    networks = []
    for seed in range(3):
        found = draw_network(seed, 0.6)
        found.confusion[:, 1] = found.confusion[:, :, 1] = 0
        networks.append(found)
    row = compare(networks)["dice", "dog"]
    assert (row.ensemble, row.members_mean, row.members_sd, row.difference, row.low) == (None,) * 5


def test_scores_without_evaluated_pixels_are_undefined() -> None:
    empty = ImageScores(np.full(NUM_IMAGES, math.nan), np.zeros((NUM_IMAGES, 3, 3), np.int64))
    assert all(row.ensemble is None and row.low is None for row in compare([empty] * 3).values())


def test_images_without_evaluated_pixels_change_nothing() -> None:
    networks = [draw_network(seed, 0.6) for seed in range(3)]
    padded = [
        ImageScores(np.append(one.losses, [math.nan] * 20), np.concatenate([one.confusion, np.zeros((20, 3, 3), int)]))
        for one in networks
    ]
    assert compare(padded, NUM_IMAGES + 20) == compare(networks)
    few = [ImageScores(one.losses[-25:], one.confusion[-25:]) for one in padded]  # 5 evaluated images
    assert {row.low for row in compare(few, NUM_IMAGES).values()} == {None}
