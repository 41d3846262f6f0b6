"""Training and validation losses that were logged at different epochs, steps and times."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.curve_readers.pairing import PairedLosses, Point, pair_losses
from pipeline.errors import PipelineError

LOSSES = st.lists(st.floats(-2, 5), min_size=2, max_size=12)


def pair(train: list[Point], val: list[Point]) -> PairedLosses:
    return pair_losses(train, val, "run", "log")


def at_step(step: float, loss: float, time: float | None = None) -> Point:
    return Point(loss, f"log, step {step}", None, step, time)


def at_epoch(epoch: float, loss: float) -> Point:
    return Point(loss, f"log, epoch {epoch}", epoch, None, None)


@given(losses=LOSSES, steps=st.integers(2, 6), data=st.data())
def test_pair_losses_of_steps_averages_them_in_any_order(losses: list[float], steps: int, data: st.DataObject) -> None:
    train = [at_step(steps * epoch + step, loss + step) for epoch, loss in enumerate(losses) for step in range(steps)]
    val = [at_step(steps * epoch + steps - 1, loss) for epoch, loss in enumerate(losses)]
    paired = pair(data.draw(st.permutations(train)), data.draw(st.permutations(val)))
    assert paired.curves.unit == "step"
    assert paired.curves.val.tolist() == losses
    np.testing.assert_allclose(paired.curves.train, np.array(losses) + (steps - 1) / 2, atol=1e-9)


@given(losses=LOSSES, spacing=st.integers(10, 1000), offset=st.integers(-2, 2))
def test_pair_losses_of_epochs_is_invariant_to_a_small_offset(losses: list[float], spacing: int, offset: int) -> None:
    val = [at_step(spacing * epoch, loss) for epoch, loss in enumerate(losses, start=1)]
    train = [at_step(spacing * epoch + offset, loss - 1) for epoch, loss in enumerate(losses, start=1)]
    paired = pair(train, val)
    assert paired.curves.epochs == tuple(spacing * epoch for epoch in range(1, len(losses) + 1))
    np.testing.assert_allclose(paired.curves.val - paired.curves.train, 1)


@given(losses=LOSSES, first=st.integers(0, 3))
def test_pair_losses_with_consecutive_steps_counts_epochs(losses: list[float], first: int) -> None:
    points = [at_step(step, loss) for step, loss in enumerate(losses, start=first)]
    assert pair(points, points).curves.unit == "epoch"


def test_pair_losses_uses_the_time_to_separate_losses_at_the_same_step() -> None:
    train = [at_step(step, float(step >= 3), time=float(step)) for step in range(6)]
    val = [at_step(3, 0.5, time=2.5), at_step(6, 0.5, time=6.5)]
    assert pair(train, val).curves.train.tolist() == [0, 1]


def test_pair_losses_of_different_counters_is_refused_without_times() -> None:
    train = [at_step(step, 1.0) for step in range(1000)]
    with pytest.raises(PipelineError, match="training losses at steps 0 to 999 and validation losses at steps 0 to 9"):
        pair(train, [at_step(epoch, 1.0) for epoch in range(10)])
    with pytest.raises(PipelineError, match="different counters"):
        pair([at_step(epoch, 1.0) for epoch in range(10)], [at_step(100 * epoch, 1.0) for epoch in range(1, 11)])


def test_pair_losses_of_a_running_epoch_ends_at_the_last_validation() -> None:
    train = [at_step(step, 1.0) for step in range(199)]
    assert pair(train, [at_step(99, 2.0)]).curves.epochs == (99,)


def test_pair_losses_leaves_out_validation_before_training() -> None:
    paired = pair([at_step(step, 1.0) for step in range(1, 41)], [at_step(step, 2.0) for step in (0, 10, 20, 30, 40)])
    assert paired.curves.epochs == (10, 20, 30, 40)
    assert any("were left out: 1" in note for note in paired.notes)


def at_epoch_and_step(epoch: int, step: int, loss: float) -> Point:
    return Point(loss, f"log, step {step}", epoch, step, None)


@pytest.mark.parametrize("spacing", [500, 400])  # training also ends before the last validation
def test_pair_losses_logged_at_other_steps_interpolates_training_losses(spacing: int) -> None:
    train = [at_step(step, 1 / step) for step in range(spacing, 11001, spacing)]
    val = [at_step(step, float(step)) for step in range(550, 11001, 550)]
    paired = pair(train, val)
    assert paired.curves.val.tolist() == [point.loss for point in val]
    positions, losses = zip(*((point.step, point.loss) for point in train), strict=True)
    np.testing.assert_allclose(paired.curves.train, np.interp(paired.curves.epochs, positions, losses))
    assert any("Training losses were interpolated for" in note for note in paired.notes)


def test_pair_losses_with_validation_before_and_after_training_does_not_extrapolate() -> None:
    train = [at_step(step, 1.0) for step in (100, 210, 305, 400)]
    paired = pair(train, [at_step(step, 2.0) for step in (0, 100, 150, 200, 250, 300, 350, 400, 500)])
    assert paired.curves.epochs == (100, 150, 200, 250, 300, 350, 400)
    assert paired.notes[1] == "Validation losses without a training loss nearby were left out: 2."


def test_pair_losses_with_several_validations_per_epoch_keeps_all_of_them() -> None:
    points = [at_epoch_and_step(step // 100, step, 1 / (step + 1)) for step in range(24, 600, 25)]
    paired = pair(points, points)
    assert (paired.curves.unit, paired.curves.epochs[-1], len(paired.curves.epochs)) == ("step", 599, 24)
    assert paired.notes == ()


def test_pair_losses_with_steps_of_validation_batches_averages_them() -> None:
    train = [at_epoch_and_step(epoch, 6 * epoch + batch, 1.0) for epoch in range(3) for batch in range(4)]
    val = [at_epoch_and_step(epoch, 6 * epoch + 4 + batch, float(batch)) for epoch in range(3) for batch in range(2)]
    assert pair(train, val).curves.val.tolist() == [0.5, 0.5, 0.5]


def test_pair_losses_with_steps_that_start_again_in_every_epoch_averages_them() -> None:
    points = [at_epoch_and_step(epoch, batch, float(batch)) for epoch in range(3) for batch in range(4)]
    assert pair(points, points).curves.epochs == (0, 1, 2)


def test_pair_losses_keeps_nan() -> None:
    paired = pair([at_epoch(1, 1.0), at_epoch(2, float("nan"))], [at_epoch(1, 1.0), at_epoch(2, 1.0)])
    assert not paired.curves.is_finite


@pytest.mark.parametrize("epoch", [float("nan"), float("inf"), 1.5])
def test_pair_losses_with_an_invalid_epoch_is_refused(epoch: float) -> None:
    points = [at_epoch(epoch, 1.0)]
    with pytest.raises(PipelineError, match="the epoch must be a whole number"):
        pair(points, points)
