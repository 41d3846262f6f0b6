"""Scores of masks: the formula, and laws that hold for any prediction."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.analysis.label_errors import (
    MIN_SUSPICIOUS,
    WrongPixels,
    compute_thresholds,
    count_contradicted,
    is_suspicious,
    rank_masks,
    score_masks,
)

FOREGROUND = np.array([False, True, True])
CLASSES = len(FOREGROUND)
SIDE = 8


def create_pixels(image: npt.ArrayLike, predicted: npt.ArrayLike, confidence: npt.ArrayLike) -> WrongPixels:
    return WrongPixels(
        np.asarray(image, np.int32),
        np.asarray(predicted, np.uint8),
        np.asarray(confidence, np.float32),
        np.zeros(CLASSES),
    )


def score(mask: np.ndarray, probs: np.ndarray, thresholds: np.ndarray) -> float:
    """Score a mask (H x W) by probabilities (C x H x W)."""
    predicted, confidence = probs.argmax(axis=0), probs.max(axis=0)
    wrong = predicted != mask
    pixels = create_pixels(np.zeros(wrong.sum(), int), predicted[wrong], confidence[wrong])
    confusion = np.zeros((1, CLASSES, CLASSES), np.int64)
    np.add.at(confusion[0], (mask, predicted), 1)
    return float(score_masks(count_contradicted(pixels, thresholds, 1), confusion, FOREGROUND)[0])


@st.composite
def masks_and_probs(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    mask = rng.integers(0, CLASSES, (SIDE, SIDE))
    probs = rng.dirichlet(np.full(CLASSES, draw(st.sampled_from([0.2, 1.0, 5.0]))), (SIDE, SIDE)).transpose(2, 0, 1)
    return mask, probs


def make_run(scores: dict[str, float], loss: float = 0.3) -> pd.DataFrame:
    rows = [(name, name.split("-")[0], value, loss) for name, value in scores.items()]
    return pd.DataFrame(rows, columns=["id", "split", "score", "loss"])


def test_score_masks_divides_contradicted_pixels_by_the_object() -> None:
    # 100 pixels: 60 of agreed background, 25 agreed foreground, 10 foreground only in the mask, 5 only predicted.
    confusion = np.array([[[60, 5, 0], [10, 25, 0], [0, 0, 0]]])
    assert score_masks(np.array([8]), confusion, FOREGROUND) == pytest.approx([8 / 40])
    no_foreground = np.zeros(CLASSES, bool)
    assert score_masks(np.array([8]), confusion, no_foreground) == pytest.approx([8 / 100])


def test_score_masks_of_an_image_without_evaluated_pixels_is_undefined() -> None:
    assert np.isnan(score_masks(np.zeros(1, np.int64), np.zeros((1, CLASSES, CLASSES), np.int64), FOREGROUND)).all()


def test_score_masks_of_a_few_pixels_in_an_empty_image_is_low() -> None:
    confusion = np.array([[[998, 2, 0], [0, 0, 0], [0, 0, 0]]])
    assert score_masks(np.array([2]), confusion, FOREGROUND) == pytest.approx([0.1])


def test_count_contradicted_counts_confidences_above_the_threshold_of_the_predicted_class() -> None:
    pixels = create_pixels([0, 0, 0, 2, 2], [1, 1, 2, 1, 2], [0.5, 0.9, 0.9, 0.51, 0.99])
    assert count_contradicted(pixels, np.array([0, 0.75, 0.75]), 4).tolist() == [2, 0, 1, 0]
    assert count_contradicted(pixels, np.array([0, 0.25, 1.0]), 4).tolist() == [2, 0, 1, 0]
    assert count_contradicted(pixels, np.array([0, 0.505, 0.95]), 4).tolist() == [1, 0, 2, 0]


@pytest.mark.parametrize("confidence", [0.52193, 0.99996])
def test_count_contradicted_is_exact_near_the_threshold(confidence: float) -> None:
    """Many pixels have the same confidence if the network is uncertain or very certain everywhere."""
    pixels = create_pixels([0] * 100, [1] * 100, [confidence] * 100)
    assert count_contradicted(pixels, np.array([0, confidence - 1e-5, 0]), 1).tolist() == [100]
    assert count_contradicted(pixels, np.array([0, confidence + 1e-5, 0]), 1).tolist() == [0]


def test_count_contradicted_reaches_the_mean_of_equal_confidences() -> None:
    confidence = np.full(1001, 0.52193, np.float32)
    thresholds = compute_thresholds(np.array([0, confidence.sum(dtype=np.float64), 0]), np.diag([0, 1001, 0])[None])
    assert count_contradicted(create_pixels([0] * 1001, [1] * 1001, confidence), thresholds, 1).tolist() == [1001]


def test_compute_thresholds_of_a_class_without_pixels_is_one() -> None:
    confusion = np.array([[[4, 2], [0, 0]], [[3, 1], [0, 0]]])
    assert compute_thresholds(np.array([8.0, 0.0]), confusion) == pytest.approx([0.8, 1.0])


@given(masks_and_probs())
def test_score_masks_is_a_fraction_and_zero_for_the_predicted_mask(example: tuple[np.ndarray, np.ndarray]) -> None:
    mask, probs = example
    thresholds = np.full(CLASSES, 0.6)
    assert 0 <= score(mask, probs, thresholds) <= 1
    assert score(probs.argmax(axis=0), probs, thresholds) == 0


@given(masks_and_probs(), st.integers(1, SIDE * SIDE), st.integers(0, 2**32 - 1))
def test_score_masks_never_falls_when_confident_pixels_are_relabeled(
    example: tuple[np.ndarray, np.ndarray], count: int, seed: int
) -> None:
    _, probs = example
    rng, thresholds = np.random.default_rng(seed), np.full(CLASSES, 0.5)
    predicted = probs.argmax(axis=0)
    confident = np.flatnonzero(probs.max(axis=0) >= 0.51)
    pixels = rng.permutation(confident)[:count]
    previous = 0.0
    mask = predicted.copy()
    for pixel in pixels:
        mask.flat[pixel] = (predicted.flat[pixel] + rng.integers(1, CLASSES)) % CLASSES
        current = score(mask, probs, thresholds)
        assert current >= previous - 1e-12
        assert current > 0
        previous = current


@given(st.permutations(range(4)), st.integers(0, 2**32 - 1))
def test_rank_masks_does_not_depend_on_the_order_of_runs(order: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    names = [f"{split}-{index}" for split in ("train", "validation") for index in range(5)]
    runs = [make_run(dict(zip(names, rng.random(len(names)), strict=True)), rng.random()) for _ in order]
    pd.testing.assert_frame_equal(rank_masks(runs), rank_masks([runs[i] for i in order]), check_exact=True)


def test_rank_masks_orders_by_mean_and_leaves_out_undefined_scores() -> None:
    runs = [
        make_run({"train-a": 0.1, "train-b": 0.6, "validation-c": 0.5, "train-d": 0.9}, loss=0.2),
        make_run({"train-a": 0.3, "train-b": 0.2, "validation-c": 0.5, "train-d": float("nan")}, loss=0.4),
    ]
    table = rank_masks(runs)
    assert list(table["id"]) == ["validation-c", "train-b", "train-a"]
    assert list(table.columns) == ["id", "split", "score", "lowest", "highest", "loss"]
    assert table.loc[1, ["score", "lowest", "highest", "loss"]].tolist() == pytest.approx([0.4, 0.2, 0.6, 0.3])


def test_is_suspicious_requires_that_every_run_contradicts_the_mask() -> None:
    high = MIN_SUSPICIOUS + 0.1
    runs = [make_run({"train-a": high, "train-b": 0.9}), make_run({"train-a": high, "train-b": 0.1})]
    table = rank_masks(runs)
    assert dict(zip(table["id"], is_suspicious(table), strict=True)) == {"train-a": True, "train-b": False}
