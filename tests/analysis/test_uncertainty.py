"""Entropy, disagreement, and how well they find errors."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special, stats

from pipeline.analysis.uncertainty import (
    COVERAGES,
    ErrorBins,
    Probs,
    compute_disagreement,
    compute_entropy,
    correlate_ranks,
)

NUM_CLASSES = 3
seeds = st.integers(0, 2**32 - 1)


def draw_probs(seed: int, num_members: int, scale: float = 3.0) -> Probs:
    """Draw the probabilities of an ensemble and its members, (1 + members) x classes x 4 x 5."""
    logits = np.random.default_rng(seed).normal(0, scale, (num_members, NUM_CLASSES, 4, 5))
    members = np.exp(logits - logits.max(axis=1, keepdims=True))
    members /= members.sum(axis=1, keepdims=True)
    return np.concatenate([members.mean(axis=0, keepdims=True), members]).astype(np.float32)


@given(seeds, st.integers(1, 6), st.sampled_from([0.1, 3.0, 100.0]))
def test_disagreement_is_between_zero_and_the_entropy(seed: int, num_members: int, scale: float) -> None:
    probs = draw_probs(seed, num_members, scale)
    entropy = compute_entropy(probs)
    disagreement = compute_disagreement(entropy)
    assert entropy.shape == (1 + num_members, 4, 5)
    assert (disagreement >= 0).all()
    assert (disagreement <= entropy[0] + 1e-6).all()
    assert (disagreement <= math.log(num_members) + 1e-5).all()
    assert (entropy <= math.log(NUM_CLASSES) + 1e-5).all()


def test_disagreement_is_zero_for_equal_members_and_log_2_for_two_certain_opposite_ones() -> None:
    uniform = np.full((3, 2, 1, 1), 0.5, np.float32)
    assert compute_disagreement(compute_entropy(uniform)) == pytest.approx(0)
    opposite = np.array([[0.5, 0.5], [1, 0], [0, 1]], np.float32)[:, :, None, None]
    assert compute_entropy(opposite)[:, 0, 0] == pytest.approx([math.log(2), 0, 0])
    assert compute_disagreement(compute_entropy(opposite)) == pytest.approx(math.log(2))


def draw_pixels(seed: int, count: int = 300) -> tuple[Probs, np.ndarray[tuple[int], np.dtype[np.bool_]]]:
    """Draw entropies that differ by more than a bin, and errors that are more frequent where the entropy is high."""
    generator = np.random.default_rng(seed)
    entropy = (1.05 ** generator.permutation(np.arange(-count, 0)) * math.log(NUM_CLASSES)).astype(np.float32)
    return entropy, generator.random(count) < 0.1 + 0.3 * entropy


@given(seeds)
def test_auroc_is_that_of_the_rank_sum_test(seed: int) -> None:
    entropy, is_wrong = draw_pixels(seed)
    statistic = stats.mannwhitneyu(entropy[is_wrong], entropy[~is_wrong]).statistic
    pairs = is_wrong.sum() * (~is_wrong).sum()
    assert ErrorBins.count(entropy, is_wrong, NUM_CLASSES).compute_auroc() == pytest.approx(statistic / pairs)


def draw_logits(name: str) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """Draw the logits of 20,000 pixels."""
    generator, count = np.random.default_rng(0), 20_000
    if name == "two likely classes":
        return np.hstack([generator.normal(0, 0.2, (count, 2)), np.full((count, 1), -9.0)])
    return generator.normal(0, {"uniform": 0.05, "uncertain": 0.5, "certain": 20.0}[name], (count, NUM_CLASSES))


@pytest.mark.parametrize("name", ["uniform", "uncertain", "two likely classes", "certain"])
def test_uncertain_and_certain_networks_are_ranked_exactly(name: str) -> None:
    probs = special.softmax(draw_logits(name), axis=1).astype(np.float32)
    entropy = compute_entropy(probs[..., None, None]).ravel()
    ranks = stats.rankdata(entropy)
    is_wrong = np.random.default_rng(1).random(len(ranks)) < 0.8 * (ranks / len(ranks)) ** 2
    bins = ErrorBins.count(entropy, is_wrong, NUM_CLASSES)
    statistic = stats.mannwhitneyu(entropy[is_wrong], entropy[~is_wrong]).statistic
    assert bins.compute_auroc() == pytest.approx(statistic / (is_wrong.sum() * (~is_wrong).sum()), abs=1e-3)
    rates = is_wrong[np.argsort(entropy, kind="stable")].cumsum() / np.arange(1, len(ranks) + 1)
    assert bins.compute_risk_coverage_area() == pytest.approx(rates.mean(), abs=1e-3)


@given(seeds)
def test_error_rates_are_those_of_the_most_certain_pixels(seed: int) -> None:
    entropy, is_wrong = draw_pixels(seed)
    ordered = is_wrong[np.argsort(entropy)]
    bins = ErrorBins.count(entropy, is_wrong, NUM_CLASSES)
    expected = [ordered[: round(share * len(ordered))].mean() for share in COVERAGES]
    assert bins.compute_error_rates() == pytest.approx(expected)
    rates = np.cumsum(ordered) / np.arange(1, len(ordered) + 1)
    assert bins.compute_risk_coverage_area() == pytest.approx(rates.mean(), abs=0.01)


@given(seeds)
def test_bins_of_several_images_are_the_sums(seed: int) -> None:
    entropy, is_wrong = draw_pixels(seed)
    whole = ErrorBins.count(entropy, is_wrong, NUM_CLASSES)
    parts = [ErrorBins.count(entropy[part], is_wrong[part], NUM_CLASSES) for part in (slice(0, 99), slice(99, None))]
    assert np.array_equal((parts[0] + parts[1]).pixels, whole.pixels)
    assert np.array_equal((parts[0] + parts[1]).errors, whole.errors)


def test_area_of_a_random_order_is_the_error_rate() -> None:
    equal = np.full(1000, 0.3, np.float32)
    bins = ErrorBins.count(equal, np.arange(1000) < 250, NUM_CLASSES)
    assert bins.compute_risk_coverage_area() == pytest.approx(0.25)
    assert bins.compute_error_rates() == pytest.approx(np.full(len(COVERAGES), 0.25))
    assert bins.compute_auroc() == 0.5


def test_area_of_a_perfect_order_is_that_of_the_paper() -> None:
    """Geifman, Uziel and El-Yaniv, Bias-reduced uncertainty estimation for deep neural classifiers, ICLR 2019."""
    entropy = np.repeat(np.float32([0.01, 1.0]), [700, 300])
    bins = ErrorBins.count(entropy, np.arange(1000) >= 700, NUM_CLASSES)
    assert bins.compute_risk_coverage_area() == pytest.approx(0.3 + 0.7 * math.log(0.7))
    assert bins.compute_auroc() == 1


@pytest.mark.parametrize("is_wrong", [False, True])
def test_auroc_is_undefined_if_all_pixels_are_correct_or_all_wrong(is_wrong: bool) -> None:
    bins = ErrorBins.count(np.float32([0.1, 0.2]), np.array([is_wrong] * 2), NUM_CLASSES)
    assert math.isnan(bins.compute_auroc())
    assert bins.compute_risk_coverage_area() == is_wrong


def test_everything_is_undefined_without_evaluated_pixels() -> None:
    bins = ErrorBins.count(np.zeros(0, np.float32), np.zeros(0, bool), NUM_CLASSES)
    assert math.isnan(bins.compute_auroc())
    assert math.isnan(bins.compute_risk_coverage_area())
    assert np.isnan(bins.compute_error_rates()).all()


def test_certain_pixels_of_a_single_class_are_counted() -> None:
    bins = ErrorBins.count(np.zeros(5, np.float32), np.zeros(5, bool), 1)
    assert bins.pixels.sum() == 5


def test_rank_correlation_is_undefined_for_few_or_constant_values() -> None:
    values = np.array([1.0, 2.0, 3.0, np.nan])
    assert correlate_ranks(values, np.array([1.0, 4.0, 9.0, 0.0])) == pytest.approx(1)
    assert correlate_ranks(values, np.array([3.0, 2.0, -1.0, 0.0])) == pytest.approx(-1)
    assert math.isnan(correlate_ranks(values, np.ones(4)))
    assert math.isnan(correlate_ranks(values[:2], values[:2]))
