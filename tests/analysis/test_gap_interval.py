"""Gap intervals: cases by hand, and properties. `benchmarks/gap_intervals.py` measures their coverage."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.analysis.clustered_mean import GroupedLosses
from pipeline.analysis.gap_interval import GapInterval, estimate_gap

PIXELS = 4096


def make_losses(losses: np.ndarray, *groups: np.ndarray) -> GroupedLosses:
    table = np.atleast_2d(losses)
    return GroupedLosses(table, np.full(table.shape[1], PIXELS), groups or (np.arange(table.shape[1]),))


def draw_losses(seed: int, size: int, mean: float = 0.3) -> np.ndarray:
    return mean * np.random.default_rng(seed).lognormal(-0.125, 0.5, size)


def estimate_loss(validation: GroupedLosses, epoch: int | None) -> GapInterval:
    """Estimate the gap to a training loss of 0, which is the validation loss."""
    zero = GroupedLosses(np.zeros_like(validation.losses), validation.pixels, validation.groups)
    return estimate_gap(validation, zero, epoch, num_train_images=len(validation.pixels))


def get_interval(estimate: GapInterval) -> tuple[float, float]:
    assert estimate.low is not None
    assert estimate.high is not None
    return estimate.low, estimate.high


def measure_width(estimate: GapInterval) -> float:
    low, high = get_interval(estimate)
    return high - low


def test_estimate_gap_of_many_normal_losses_is_close_to_students_interval() -> None:
    losses = np.random.default_rng(0).normal(0.3, 0.05, 400)
    low, high = get_interval(estimate_loss(make_losses(losses), 0))
    error = losses.std(ddof=1) / 20
    assert low == pytest.approx(losses.mean() - 1.966 * error, abs=0.1 * error)
    assert high == pytest.approx(losses.mean() + 1.966 * error, abs=0.1 * error)


def test_estimate_gap_of_skewed_losses_is_wider_than_students_interval() -> None:
    losses = np.random.default_rng(1).lognormal(0, 1, 40)
    assert measure_width(estimate_loss(make_losses(losses), 0)) > 1.15 * 2 * 2.02 * losses.std(ddof=1) / 40**0.5


def test_estimate_gap_of_images_that_share_a_group_is_wider() -> None:
    groups = np.repeat(np.arange(12), 10)
    losses = draw_losses(2, 12)[groups]
    grouped, single = estimate_loss(make_losses(losses, groups), 0), estimate_loss(make_losses(losses), 0)
    assert measure_width(grouped) > 2.5 * measure_width(single)


def test_estimate_gap_with_two_kinds_of_groups_adds_their_variances() -> None:
    first, second = np.arange(144) % 12, np.arange(144) // 12
    losses = 0.3 + 0.05 * np.random.default_rng(3).normal(size=12)[first]
    losses = losses + 0.05 * np.random.default_rng(4).normal(size=12)[second]
    both = measure_width(estimate_loss(make_losses(losses, first, second), 0))
    single = [measure_width(estimate_loss(make_losses(losses, kind), 0)) for kind in (first, second)]
    assert both == pytest.approx(np.hypot(*single), rel=0.15)


def test_estimate_gap_below_ten_groups_has_a_reason_instead_of_an_interval() -> None:
    estimate = estimate_loss(make_losses(draw_losses(5, 36), np.arange(36) % 9), 0)
    assert estimate.low is None
    assert "9 groups" in estimate.reason


def test_estimate_gap_resamples_the_training_side_only_if_it_is_a_sample() -> None:
    validation, train = make_losses(draw_losses(6, 40)), make_losses(draw_losses(7, 40, 0.2))
    exact = measure_width(estimate_loss(validation, 0))
    assert measure_width(estimate_gap(validation, train, 0, num_train_images=40)) == pytest.approx(exact, rel=1e-9)
    assert measure_width(estimate_gap(validation, train, 0, num_train_images=80)) > exact
    few = make_losses(draw_losses(7, 5, 0.2))
    assert estimate_gap(validation, few, 0, num_train_images=5).low is not None
    assert "training side has 5" in estimate_gap(validation, few, 0, num_train_images=50).reason


def test_estimate_gap_at_the_best_epoch_corrects_for_selection_bias() -> None:
    generator = np.random.default_rng(8)
    table = 0.3 * generator.lognormal(-0.125, 0.5, (20, 30))  # 20 equivalent epochs: the best one is chance
    estimate = estimate_loss(make_losses(table), None)
    lowest = table.mean(axis=1).min()
    assert estimate.selection_bias is not None
    assert 0.6 * (0.3 - lowest) < estimate.selection_bias < 1.4 * (0.3 - lowest)
    assert sum(get_interval(estimate)) > 2 * lowest
    assert estimate_loss(make_losses(table), 3).selection_bias == 0


def test_estimate_gap_is_invariant_to_the_order_of_images_and_to_a_constant() -> None:
    losses, order = draw_losses(9, 50), np.random.default_rng(0).permutation(50)
    groups = np.arange(50) % 25
    expected = get_interval(estimate_loss(make_losses(losses, groups), 0))
    ones = make_losses(np.full(50, 1.0))
    for estimate in (
        estimate_loss(make_losses(losses[order], groups[order]), 0),
        estimate_gap(make_losses(losses + 1, groups), ones, 0, num_train_images=50),
    ):
        assert get_interval(estimate) == pytest.approx(expected, abs=1e-9)


def test_estimate_gap_of_equal_losses_has_width_0() -> None:
    interval = get_interval(estimate_loss(make_losses(np.full(20, 0.25)), 0))
    assert interval == pytest.approx((0.25, 0.25))


@pytest.mark.parametrize("num_positive", [1, 2])
def test_estimate_gap_of_nearly_equal_losses_has_a_reason_instead_of_an_interval(num_positive: int) -> None:
    found = estimate_loss(make_losses(np.array([0.0] * 14 + [0.5] * num_positive)), 0)
    assert (found.low, found.high) == (None, None)
    assert "same loss" in found.reason


def test_estimate_gap_of_nan_has_a_reason_instead_of_an_interval() -> None:
    estimate = estimate_loss(make_losses(np.full(20, np.nan)), 0)
    assert estimate.low is None
    assert "NaN" in estimate.reason
