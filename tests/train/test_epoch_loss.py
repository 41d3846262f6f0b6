"""The mean loss of an epoch, whose losses are read one by one on a CPU, and several together on a GPU."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pipeline.imaging import IGNORE
from pipeline.train.epoch_loss import GPU_INTERVAL, DivergedError, EpochLoss

CPU, GPU = torch.device("cpu"), torch.device("cuda")  # only the way of reading depends on it
LABELED, IGNORED = torch.tensor([[[0, IGNORE]]]), torch.tensor([[[IGNORE, IGNORE]]])

losses = st.floats(min_value=0, max_value=1e6, width=32)
batches = st.lists(st.tuples(losses, st.booleans()), max_size=3 * GPU_INTERVAL)


def compute_mean(values: list[tuple[float, bool]], device: torch.device) -> float:
    """Return the mean of losses, each with whether its batch has evaluated pixels."""
    epoch = EpochLoss(1, device)
    for loss, has_pixels in values:
        epoch.add(torch.tensor(loss), LABELED if has_pixels else IGNORED)
    return epoch.compute_mean()


@given(batches)
def test_mean_is_equal_on_both_devices(values: list[tuple[float, bool]]) -> None:
    counted = [loss for loss, has_pixels in values if has_pixels]
    means = [compute_mean(values, device) for device in (CPU, GPU)]
    if not counted:
        assert all(map(math.isnan, means))
    else:
        assert means == [sum(counted) / len(counted)] * 2


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("has_pixels", [True, False])
def test_loss_that_is_not_finite_raises_at_once_on_a_cpu(value: float, has_pixels: bool) -> None:
    epoch = EpochLoss(3, CPU)
    with pytest.raises(DivergedError) as error:
        epoch.add(torch.tensor(value), LABELED if has_pixels else IGNORED)
    assert error.value.epoch == 3


@given(st.integers(0, 3 * GPU_INTERVAL), st.integers(0, 3 * GPU_INTERVAL))
def test_loss_that_is_not_finite_raises_in_the_same_epoch_on_a_gpu(before: int, after: int) -> None:
    values = [1.0] * before + [math.nan] + [1.0] * after
    with pytest.raises(DivergedError):
        compute_mean([(value, True) for value in values], GPU)
