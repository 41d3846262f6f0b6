"""Verdicts on clear cases and on a published curve, and properties."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.analysis.baselines import OneClassCheck
from pipeline.analysis.curves import LossCurves, compute_gaps
from pipeline.analysis.verdict import Thresholds, judge

# Keras' pets example, as its page prints it (keras.io, "Image segmentation with a U-Net-like architecture").
TRAIN = [0.9396, 0.4911, 0.4205, 0.3739, 0.3416, 0.3131, 0.2895, 0.2695, 0.2528, 0.2360, 0.2247, 0.2126, 0.2026, 0.1932]
VAL = [3.7159, 2.2709, 0.5184, 0.4584, 0.3968, 0.4059, 0.3963, 0.4035, 0.4184, 0.3950, 0.4139, 0.3861, 0.4138, 0.4265]
KERAS = ([*TRAIN, 0.1857], [*VAL, 0.3959])
EPOCHS = np.arange(40.0)
DECAY = 0.6 * np.exp(-EPOCHS / 6)
NOISE = 0.005 * np.random.default_rng(0).normal(size=40)

LOSSES = st.lists(st.floats(0.01, 5), min_size=1, max_size=20)


def make_curves(train: object, val: object) -> LossCurves:
    first, second = np.array(train, dtype=np.float64), np.array(val, dtype=np.float64)
    return LossCurves(tuple(range(1, len(first) + 1)), first, second)


def test_judge_of_the_published_curve_is_memorizing() -> None:
    verdict = judge(make_curves(*KERAS))
    assert verdict.word == "memorizing"
    assert verdict.gaps is not None
    assert verdict.gaps.ratio == pytest.approx(2.13, abs=0.005)
    assert verdict.gaps.rise == pytest.approx(0.025, abs=0.0005)
    assert (verdict.gaps.best_epoch, verdict.gaps.epochs_after_best) == (12, 3)
    assert verdict.onset is None
    assert len(verdict.not_checked) == 1
    assert "baseline" in verdict.not_checked[0]
    assert judge(make_curves(*KERAS), baseline=0.9).not_checked == ()


@pytest.mark.parametrize(
    ("word", "train", "val"),
    [
        ("learning", 0.30 + DECAY, 0.35 + DECAY + NOISE),
        ("memorizing", 0.10 + DECAY, 0.35 + DECAY + NOISE),
        ("overfitting", 0.10 + DECAY, 0.35 + DECAY + NOISE + 0.01 * np.maximum(0, EPOCHS - 20)),
        ("underfitting", 0.88 - 0.001 * EPOCHS, 0.89 - 0.001 * EPOCHS + NOISE),
        ("diverged", np.where(EPOCHS < 30, DECAY, np.nan), DECAY),
        ("undecided", [0.5], [0.6]),
    ],
)
def test_judge_of_clear_cases(word: str, train: np.ndarray, val: np.ndarray) -> None:
    assert judge(make_curves(train, val), baseline=0.9).word == word


@pytest.mark.parametrize(
    ("validation", "training", "expected"),
    [(True, True, "learning"), (None, True, "learning"), (False, True, "memorizing"), (False, False, "underfitting"),
     (False, None, "undecided")],
)  # fmt: skip
def test_judge_of_a_run_that_predicts_one_class_is_never_learning(
    validation: bool | None, training: bool | None, expected: str
) -> None:
    check = OneClassCheck(validation, training, "no better than one class")
    verdict = judge(make_curves(0.30 + DECAY, 0.35 + DECAY + NOISE), baseline=0.9, one_class=check)
    assert verdict.word == expected
    assert ("no better than one class" in verdict.evidence) == (validation is False)
    assert any(reason.startswith("One-class baseline") for reason in verdict.not_checked) == (
        validation is None or expected == "undecided"
    )


@pytest.mark.parametrize("word", ["memorizing", "overfitting", "underfitting", "undecided"])
def test_judge_adds_the_one_class_label_to_other_verdicts(word: str) -> None:
    train, val = {
        "memorizing": (0.10 + DECAY, 0.35 + DECAY + NOISE),
        "overfitting": (0.10 + DECAY, 0.35 + DECAY + NOISE + 0.01 * np.maximum(0, EPOCHS - 20)),
        "underfitting": (0.88 - 0.001 * EPOCHS, 0.89 - 0.001 * EPOCHS + NOISE),
        "undecided": ([0.5], [0.6]),
    }[word]
    plain = judge(make_curves(train, val), baseline=0.9)
    labeled = judge(make_curves(train, val), baseline=0.9, one_class=OneClassCheck(False, False, "no better"))
    assert (labeled.word, labeled.evidence) == (word, (*plain.evidence, "no better"))


def test_judge_without_a_baseline_calls_little_progress_underfitting() -> None:
    assert judge(make_curves([0.9, 0.89, 0.88], [0.9, 0.89, 0.88])).word == "underfitting"
    assert judge(make_curves([0.9, 0.85, 0.80], [0.9, 0.86, 0.82])).word == "learning"


def test_judge_has_no_onset_if_training_rises_too() -> None:
    both = 0.35 + DECAY + NOISE + 0.01 * np.maximum(0, EPOCHS - 20)
    assert judge(make_curves(both - 0.05, both)).onset is None


def test_judge_reports_a_small_rise_and_applies_the_threshold() -> None:
    rising = make_curves(0.3 + DECAY, 0.35 + DECAY + NOISE / 10 + 0.0015 * np.maximum(0, EPOCHS - 25))
    verdict = judge(rising)
    assert verdict.word == "learning"
    assert verdict.onset is not None
    assert any("rises by" in sentence for sentence in verdict.evidence)
    assert judge(rising, thresholds=Thresholds(overfitting=0.01)).word == "overfitting"


@pytest.mark.parametrize("last", [0.5, 0.35, 0.12])
def test_judge_measures_a_rise_from_the_fitted_minimum(last: float) -> None:
    train, val = 0.1 + DECAY - 0.001 * EPOCHS, 0.1 + DECAY + NOISE + 0.02 * np.maximum(0, EPOCHS - 20)
    val[-1] = last  # one low loss at the end of a rise to 0.5
    verdict = judge(make_curves(train, val), baseline=0.9)
    assert verdict.word == "overfitting"
    (share,) = re.findall(r"validation rises by (\S+)%", " ".join(verdict.evidence))
    assert 100 < float(share) < 500


@given(scale=st.floats(0.01, 100), shift=st.floats(-10, -1), slope=st.floats(0, 0.05))
def test_judge_of_negative_losses_is_invariant_to_scale_and_shift(scale: float, shift: float, slope: float) -> None:
    train, val = DECAY - 1.5, 0.05 + DECAY + NOISE + slope * np.maximum(0, np.arange(len(DECAY)) - 15) - 1.5
    base = judge(make_curves(train, val))
    moved = judge(make_curves(scale * (train + shift), scale * (val + shift)))
    assert (moved.word, moved.onset, moved.not_checked) == (base.word, base.onset, base.not_checked)


def test_judge_of_negative_losses_checks_whether_training_falls() -> None:
    assert judge(make_curves([-0.1, -0.2, -0.1], [-0.1, -0.2, -0.1])).word == "underfitting"
    verdict = judge(make_curves([-0.1, -0.2, -0.11], [-0.1, -0.2, -0.15]), baseline=0.9)
    assert verdict.word == "learning"
    assert verdict.gaps is not None
    assert (verdict.gaps.ratio, verdict.gaps.rise) == (None, None)
    assert "0.040 lower" in verdict.evidence[0]
    assert [reason.partition(":")[0] for reason in verdict.not_checked] == ["Onset", "Underfitting", "Memorizing"]


def test_judge_of_steps_names_steps() -> None:
    val = 0.4 + 0.5 * np.exp(-np.arange(30) / 3) + 0.01 * np.maximum(0, np.arange(30) - 12)
    steps = tuple(100 * number + number % 3 for number in range(1, 31))
    verdict = judge(LossCurves(steps, val - 0.1 - 0.01 * np.arange(30), val, unit="step"))
    assert verdict.word == "overfitting"
    assert verdict.evidence[0].startswith("at step 3000, after 30 validations, training is at")
    assert "after step 1" in verdict.evidence[1]
    uneven = judge(LossCurves((100, 200, 300, 500), val[:4] - 0.1, val[:4], unit="step"))
    assert uneven.not_checked[0].startswith("Onset: steps 300 and 500 are not 100 apart")
    diverged = judge(LossCurves((100, 200), np.array([1.0, np.nan]), np.array([1.0, 1.0]), unit="step"))
    assert diverged.evidence == ("a loss is NaN or infinite at step 200",)


def test_judge_reports_missing_and_too_few_epochs() -> None:
    val = np.array([0.9, 0.8, 0.7])
    assert "between 2 and 4" in " ".join(judge(LossCurves((1, 2, 4), val - 0.01, val)).not_checked)
    reasons = " ".join(judge(LossCurves((1, 2, 3), val - 0.01, val)).not_checked)
    assert "Onset: the curves have 3 epochs; the search requires at least 8." in reasons


@given(LOSSES, st.floats(0, 3))
def test_compute_gaps_is_invariant_to_a_constant(values: list[float], constant: float) -> None:
    val = np.array(values)
    before, after = (
        compute_gaps(make_curves(val / 2, val)),
        compute_gaps(make_curves(val / 2 + constant, val + constant)),
    )
    assert before is not None
    assert after is not None
    assert after.last == pytest.approx(before.last, abs=1e-9)
    assert after.best == pytest.approx(val.min() / 2, abs=1e-9)


@given(LOSSES, st.data(), st.sampled_from([np.nan, np.inf, -np.inf]))
def test_judge_of_nan_or_infinity_is_diverged(values: list[float], data: st.DataObject, bad: float) -> None:
    sides = [np.array(values), np.array(values)]
    sides[data.draw(st.integers(0, 1))][data.draw(st.integers(0, len(values) - 1))] = bad
    verdict = judge(make_curves(*sides))
    assert (verdict.word, verdict.gaps, verdict.onset) == ("diverged", None, None)


def test_training_that_starts_at_zero_is_underfitting() -> None:
    verdict = judge(LossCurves((1, 2), np.array([0.0, 1.0]), np.array([0.0, 0.0])))
    assert verdict.word == "underfitting"
