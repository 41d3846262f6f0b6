"""Intervals of gaps: against numbers by hand, and their laws. How often they cover: benchmarks/gap_intervals.py."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.analysis.intervals import Estimate, ImageLosses, gap_estimate

PIXELS = 4096


def images(losses: np.ndarray, *groups: np.ndarray) -> ImageLosses:
    table = np.atleast_2d(losses)
    return ImageLosses(table, np.full(table.shape[1], PIXELS), groups or (np.arange(table.shape[1]),))


def drawn(seed: int, size: int, mean: float = 0.3) -> np.ndarray:
    return mean * np.random.default_rng(seed).lognormal(-0.125, 0.5, size)


def loss_estimate(validation: ImageLosses, epoch: int | None) -> Estimate:
    """Of the loss on validation: of the gap to a training side without any."""
    nothing = ImageLosses(np.zeros_like(validation.losses), validation.pixels, validation.groups)
    return gap_estimate(validation, nothing, epoch, seen=len(validation.pixels))


def width(estimate: object) -> float:
    interval = estimate.interval  # type: ignore[attr-defined]
    return float(interval.high - interval.low)


def test_of_many_alike_images_it_is_nearly_the_usual_interval() -> None:
    losses = np.random.default_rng(0).normal(0.3, 0.05, 400)
    found = loss_estimate(images(losses), 0).interval
    assert found is not None
    error = losses.std(ddof=1) / 20
    assert found.low == pytest.approx(losses.mean() - 1.966 * error, abs=0.1 * error)
    assert found.high == pytest.approx(losses.mean() + 1.966 * error, abs=0.1 * error)


def test_skewed_losses_get_more_room_than_the_usual_interval() -> None:
    losses = np.random.default_rng(1).lognormal(0, 1, 40)
    assert width(loss_estimate(images(losses), 0)) > 1.15 * 2 * 2.02 * losses.std(ddof=1) / 40**0.5


def test_images_that_share_a_group_count_as_few() -> None:
    groups = np.repeat(np.arange(12), 10)
    losses = drawn(2, 12)[groups]
    assert width(loss_estimate(images(losses, groups), 0)) > 2.5 * width(loss_estimate(images(losses), 0))


def test_two_kinds_of_groups_are_wider_than_either() -> None:
    first, second = np.arange(144) % 12, np.arange(144) // 12
    losses = 0.3 + 0.05 * np.random.default_rng(3).normal(size=12)[first]
    losses = losses + 0.05 * np.random.default_rng(4).normal(size=12)[second]
    both = width(loss_estimate(images(losses, first, second), 0))
    alone = [width(loss_estimate(images(losses, kind), 0)) for kind in (first, second)]
    assert both == pytest.approx(np.hypot(*alone), rel=0.15)


def test_below_ten_groups_it_is_withheld_and_said() -> None:
    found = loss_estimate(images(drawn(5, 36), np.arange(36) % 9), 0)
    assert found.interval is None
    assert "9 groups" in found.withheld


def test_the_training_side_counts_where_it_is_a_sample() -> None:
    validation, training = images(drawn(6, 40)), images(drawn(7, 40, 0.2))
    alone = width(loss_estimate(validation, 0))
    assert width(gap_estimate(validation, training, 0, seen=40)) == pytest.approx(alone, rel=1e-9)
    assert width(gap_estimate(validation, training, 0, seen=80)) > alone
    few = images(drawn(7, 5, 0.2))
    assert gap_estimate(validation, few, 0, seen=5).interval is not None  # all of them: nothing to resample
    assert "training side has 5" in gap_estimate(validation, few, 0, seen=50).withheld


def test_the_choice_of_the_epoch_is_paid_for() -> None:
    generator = np.random.default_rng(8)
    table = 0.3 * generator.lognormal(-0.125, 0.5, (20, 30))  # 20 epochs that are alike: the best is luck alone
    found = loss_estimate(images(table), None)
    lucky = table.mean(axis=1).min()
    assert found.optimism is not None
    assert 0.6 * (0.3 - lucky) < found.optimism < 1.4 * (0.3 - lucky)
    assert found.interval is not None
    assert found.interval.high + found.interval.low > 2 * lucky
    assert loss_estimate(images(table), 3).optimism == 0


def test_nothing_depends_on_the_images_order_or_on_a_constant() -> None:
    losses, order = drawn(9, 50), np.random.default_rng(0).permutation(50)
    groups = np.arange(50) % 25
    first = loss_estimate(images(losses, groups), 0).interval
    second = loss_estimate(images(losses[order], groups[order]), 0).interval
    third = gap_estimate(images(losses + 1, groups), images(np.full(50, 1.0)), 0, seen=50).interval
    assert first is not None
    assert second is not None
    assert third is not None
    for other in (second, third):
        assert (other.low, other.high) == pytest.approx((first.low, first.high), abs=1e-9)


def test_equal_losses_and_nan() -> None:
    found = loss_estimate(images(np.full(20, 0.25)), 0).interval
    assert found is not None
    assert (found.low, found.high) == pytest.approx((0.25, 0.25))
    assert "NaN" in loss_estimate(images(np.full(20, np.nan)), 0).withheld
