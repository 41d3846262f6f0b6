"""Verdicts on curves that leave no doubt, on the published one, and their laws."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.analysis.curves import Curves, gaps
from pipeline.analysis.one_class import OneClassCheck
from pipeline.analysis.verdict import Thresholds, judge

# Keras' pets example, as its page prints it (keras.io, "Image segmentation with a U-Net-like architecture").
TRAIN = [0.9396, 0.4911, 0.4205, 0.3739, 0.3416, 0.3131, 0.2895, 0.2695, 0.2528, 0.2360, 0.2247, 0.2126, 0.2026, 0.1932]
VAL = [3.7159, 2.2709, 0.5184, 0.4584, 0.3968, 0.4059, 0.3963, 0.4035, 0.4184, 0.3950, 0.4139, 0.3861, 0.4138, 0.4265]
KERAS = ([*TRAIN, 0.1857], [*VAL, 0.3959])
EPOCHS = np.arange(40.0)
FALL = 0.6 * np.exp(-EPOCHS / 6)
WOBBLE = 0.005 * np.random.default_rng(0).normal(size=40)

losses = st.lists(st.floats(0.01, 5), min_size=1, max_size=20)


def curves(train: object, val: object) -> Curves:
    first, second = np.array(train, dtype=np.float64), np.array(val, dtype=np.float64)
    return Curves(tuple(range(1, len(first) + 1)), first, second)


def test_the_published_curve_memorises() -> None:
    found = judge(curves(*KERAS))
    assert found.word == "memorising"
    assert found.gaps is not None
    assert found.gaps.ratio == pytest.approx(2.13, abs=0.005)
    assert found.gaps.rise == pytest.approx(0.025, abs=0.0005)
    assert (found.gaps.best_epoch, found.gaps.epochs_after_best) == (12, 3)
    assert found.onset is None
    assert len(found.not_checked) == 1
    assert "baseline" in found.not_checked[0]
    assert judge(curves(*KERAS), baseline=0.9).not_checked == ()


@pytest.mark.parametrize(
    ("word", "train", "val"),
    [
        ("learning", 0.30 + FALL, 0.35 + FALL + WOBBLE),
        ("memorising", 0.10 + FALL, 0.35 + FALL + WOBBLE),
        ("overfitting", 0.10 + FALL, 0.35 + FALL + WOBBLE + 0.01 * np.maximum(0, EPOCHS - 20)),
        ("underfitting", 0.88 - 0.001 * EPOCHS, 0.89 - 0.001 * EPOCHS + WOBBLE),
        ("diverged", np.where(EPOCHS < 30, FALL, np.nan), FALL),
        ("undecided", [0.5], [0.6]),
    ],
)
def test_clear_cases(word: str, train: np.ndarray, val: np.ndarray) -> None:
    assert judge(curves(train, val), baseline=0.9).word == word


@pytest.mark.parametrize(
    ("validation", "training", "expected"),
    [(True, True, "learning"), (None, True, "learning"), (False, True, "memorising"), (False, False, "underfitting"),
     (False, None, "undecided")],
)  # fmt: skip
def test_no_better_than_one_class_is_never_learning(
    validation: bool | None, training: bool | None, expected: str
) -> None:
    check = OneClassCheck(validation, training, "no better than one class")
    found = judge(curves(0.30 + FALL, 0.35 + FALL + WOBBLE), baseline=0.9, one_class=check)
    assert found.word == expected
    assert ("no better than one class" in found.evidence) == (validation is False)
    assert any(reason.startswith("One-class baseline") for reason in found.not_checked) == (
        validation is None or expected == "undecided"
    )


@pytest.mark.parametrize("word", ["memorising", "overfitting", "underfitting", "undecided"])
def test_other_words_stay_and_get_the_label(word: str) -> None:
    train, val = {
        "memorising": (0.10 + FALL, 0.35 + FALL + WOBBLE),
        "overfitting": (0.10 + FALL, 0.35 + FALL + WOBBLE + 0.01 * np.maximum(0, EPOCHS - 20)),
        "underfitting": (0.88 - 0.001 * EPOCHS, 0.89 - 0.001 * EPOCHS + WOBBLE),
        "undecided": ([0.5], [0.6]),
    }[word]
    plain = judge(curves(train, val), baseline=0.9)
    labeled = judge(curves(train, val), baseline=0.9, one_class=OneClassCheck(False, False, "no better"))
    assert (labeled.word, labeled.evidence) == (word, (*plain.evidence, "no better"))


def test_without_a_baseline_underfitting_is_a_loss_that_hardly_fell() -> None:
    assert judge(curves([0.9, 0.89, 0.88], [0.9, 0.89, 0.88])).word == "underfitting"
    assert judge(curves([0.9, 0.85, 0.80], [0.9, 0.86, 0.82])).word == "learning"


def test_where_training_rises_too_it_is_no_overfitting() -> None:
    both = 0.35 + FALL + WOBBLE + 0.01 * np.maximum(0, EPOCHS - 20)
    assert judge(curves(both - 0.05, both)).onset is None


def test_a_small_rise_is_said_and_counts_by_the_threshold() -> None:
    rising = curves(0.3 + FALL, 0.35 + FALL + WOBBLE / 10 + 0.0015 * np.maximum(0, EPOCHS - 25))
    found = judge(rising)
    assert found.word == "learning"
    assert found.onset is not None
    assert any("rises by" in sentence for sentence in found.evidence)
    assert judge(rising, thresholds=Thresholds(overfitting=0.01)).word == "overfitting"


def test_missing_epochs_are_named() -> None:
    val = np.array([0.9, 0.8, 0.7])
    assert "between 2 and 4" in " ".join(judge(Curves((1, 2, 4), val - 0.01, val)).not_checked)
    assert "Onset: 3 epochs in all; it takes 8." in " ".join(judge(Curves((1, 2, 3), val - 0.01, val)).not_checked)


@given(losses, st.floats(0, 3))
def test_a_constant_added_to_both_losses_leaves_the_gap(values: list[float], constant: float) -> None:
    val = np.array(values)
    before, after = gaps(curves(val / 2, val)), gaps(curves(val / 2 + constant, val + constant))
    assert before is not None
    assert after is not None
    assert after.last == pytest.approx(before.last, abs=1e-9)
    assert after.best == pytest.approx(val.min() / 2, abs=1e-9)


@given(losses, st.data(), st.sampled_from([np.nan, np.inf, -np.inf]))
def test_nan_anywhere_is_diverged(values: list[float], data: st.DataObject, bad: float) -> None:
    sides = [np.array(values), np.array(values)]
    sides[data.draw(st.integers(0, 1))][data.draw(st.integers(0, len(values) - 1))] = bad
    found = judge(curves(*sides))
    assert (found.word, found.gaps, found.onset) == ("diverged", None, None)
