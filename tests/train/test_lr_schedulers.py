"""Learning-rate schedulers: properties that hold for every scheduler, length and warm-up."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.optim import SGD, Adam, Optimizer, RMSprop
from torch.optim.lr_scheduler import ReduceLROnPlateau

from pipeline.params.file import read_params
from pipeline.params.train import Constant, Cosine, LrSchedulerSettings, OneCycle, ReduceOnPlateau
from pipeline.train.lr_schedulers import create_lr_scheduler
from pipeline.train.train_cell import train_cell
from tests.conftest import write_params

PEAK, ENCODER_FACTOR = 0.02, 0.1  # the decoder's learning rate; the encoder's as a fraction of it

without_deadline = settings(deadline=None)  # an optimizer's first step imports parts of torch, which takes seconds
lengths = st.integers(1, 200)
warmup_fractions = st.floats(min_value=0, max_value=0.99)
cosines = st.builds(lambda fraction: Cosine(name="cosine", warmup_fraction=fraction), warmup_fractions)
one_cycles = st.builds(
    lambda fraction: OneCycle(name="one_cycle", warmup_fraction=fraction), warmup_fractions.filter(bool)
)
all_schedulers = st.one_of(st.just(Constant(name="constant")), cosines, one_cycles)


def create_optimizer() -> Optimizer:
    decoder, encoder = nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(1))
    return SGD([{"params": [decoder], "lr": PEAK}, {"params": [encoder], "lr": PEAK * ENCODER_FACTOR}], momentum=0.9)


def list_learning_rates(scheduler_settings: LrSchedulerSettings, steps: int) -> list[tuple[float, float]]:
    """Return the learning rates of both groups at each step."""
    optimizer = create_optimizer()
    scheduler, values = create_lr_scheduler(optimizer, scheduler_settings, steps), []
    for _ in range(steps):
        decoder, encoder = optimizer.param_groups
        values.append((decoder["lr"], encoder["lr"]))
        optimizer.step()
        scheduler.step()
    return values


def list_factors(scheduler_settings: LrSchedulerSettings, steps: int) -> list[float]:
    return [decoder / PEAK for decoder, _ in list_learning_rates(scheduler_settings, steps)]


@without_deadline
@given(all_schedulers, lengths)
def test_learning_rates_stay_in_range_and_groups_keep_their_ratio(
    scheduler_settings: LrSchedulerSettings, steps: int
) -> None:
    for decoder, encoder in list_learning_rates(scheduler_settings, steps):
        assert 0 < decoder <= PEAK * (1 + 1e-9)
        assert encoder / decoder == pytest.approx(ENCODER_FACTOR)


@without_deadline
@given(all_schedulers, lengths)
def test_learning_rate_increases_once_and_then_decreases(scheduler_settings: LrSchedulerSettings, steps: int) -> None:
    factors = list_factors(scheduler_settings, steps)
    top = factors.index(max(factors))
    assert factors[: top + 1] == sorted(factors[: top + 1])
    assert factors[top:] == sorted(factors[top:], reverse=True)


@without_deadline
@given(cosines, lengths)
def test_cosine_is_continuous_and_has_the_expected_ends(scheduler_settings: Cosine, steps: int) -> None:
    values, rise = (
        list_factors(scheduler_settings, steps),
        min(round(scheduler_settings.warmup_fraction * steps), steps - 1),
    )
    assert values[0] == pytest.approx(1 / (rise + 1))
    assert values[rise] == 1
    fall = steps - rise
    assert values[-1] == pytest.approx((1 - math.cos(math.pi / fall)) / 2)  # one step before 0
    max_change = max(1 / (rise + 1), math.pi / 2 / fall) + 1e-9
    assert all(abs(after - before) <= max_change for before, after in pairwise(values))


@without_deadline
@given(one_cycles, st.integers(3, 200))
def test_one_cycle_is_continuous_and_has_the_expected_ends_and_peak(scheduler_settings: OneCycle, steps: int) -> None:
    values, rise = list_factors(scheduler_settings, steps), max(scheduler_settings.warmup_fraction * steps, 2) - 1
    fall = steps - 1 - rise
    assert values[0] == pytest.approx(1 / 25)
    assert values[-1] == pytest.approx(1 / 25 / 1e4)
    assert abs(values.index(max(values)) - rise) <= 1
    max_change = math.pi / 2 / min(rise, fall) + 1e-9
    assert all(abs(after - before) <= max_change for before, after in pairwise(values))
    if rise == int(rise):
        assert values[int(rise)] == pytest.approx(1)
    # If the peak is between two steps, it is missed by at most half a cosine step.
    assert max(values) >= 1 - (math.pi / 2 / max(1, min(rise, fall))) ** 2 or fall < 1


def test_one_cycle_peaks_at_the_end_of_the_warm_up() -> None:
    values = list_factors(OneCycle(name="one_cycle", warmup_fraction=0.3), 240)
    assert values[71] == pytest.approx(1)  # the 72nd of 240 steps
    assert max(values) == values[71]


@pytest.mark.parametrize("steps", [1, 2])
def test_one_cycle_needs_three_steps(steps: int) -> None:
    assert list_factors(OneCycle(name="one_cycle", warmup_fraction=0.5), steps) == [1.0] * steps


@pytest.mark.parametrize(
    ("kind", "arguments", "key"),
    [(SGD, {"momentum": 0.5}, "momentum"), (RMSprop, {"momentum": 0.5}, "momentum"), (Adam, {}, "betas")],
)
def test_one_cycle_moves_momentum_inversely(kind: type[Optimizer], arguments: dict[str, Any], key: str) -> None:
    optimizer: Optimizer = kind([nn.Parameter(torch.zeros(1))], lr=PEAK, **arguments)  # type: ignore[call-arg]
    scheduler, values = create_lr_scheduler(optimizer, OneCycle(name="one_cycle", warmup_fraction=0.3), 20), []
    for _ in range(20):
        value = optimizer.param_groups[0][key]
        values.append(value[0] if key == "betas" else value)
        optimizer.step()
        scheduler.step()
    assert (values[0], min(values), values[-1]) == pytest.approx((0.95, 0.85, 0.95))
    assert values.index(min(values)) == 5


@pytest.mark.parametrize("kind", [SGD, RMSprop])
def test_one_cycle_adds_no_momentum(kind: type[Optimizer]) -> None:
    optimizer: Optimizer = kind([nn.Parameter(torch.zeros(1))], lr=PEAK)  # type: ignore[call-arg]
    create_lr_scheduler(optimizer, OneCycle(name="one_cycle", warmup_fraction=0.3), 20)
    assert optimizer.param_groups[0]["momentum"] == 0


@without_deadline
@given(
    st.lists(st.floats(min_value=0.01, max_value=2), min_size=1, max_size=40),
    st.floats(min_value=0.05, max_value=0.95),
    st.integers(0, 5),
)
def test_plateau_lowers_the_learning_rate_after_patience_epochs(
    losses: list[float], factor: float, patience: int
) -> None:
    optimizer = create_optimizer()
    scheduler = create_lr_scheduler(
        optimizer, ReduceOnPlateau(name="reduce_on_plateau", factor=factor, patience=patience), 9
    )
    assert isinstance(scheduler, ReduceLROnPlateau)
    expected, lowest, waited = PEAK, math.inf, 0
    for loss in losses:
        scheduler.step(loss)
        waited = 0 if loss < lowest * (1 - 1e-4) else waited + 1
        lowest = loss if waited == 0 else lowest
        if waited > patience:
            expected, waited = expected * factor, 0
        decoder, encoder = (group["lr"] for group in optimizer.param_groups)
        assert decoder == pytest.approx(expected)
        assert encoder / decoder == pytest.approx(ENCODER_FACTOR)  # also for tiny learning rates


def test_plateau_changes_the_learning_rate_between_epochs(project: Path) -> None:
    plateau = {"name": "reduce_on_plateau", "factor": 0.5, "patience": 0}
    changes = {"variants": {"falls": {"train": {"lr_scheduler": plateau, "epochs": 6}}}, "grid": {"variant": ["falls"]}}
    params = read_params(write_params(project, changes))
    train_cell(params.cell("falls", 1.0, 0))
    history = pd.read_csv(project / "runs/falls-1.0-0/history.csv")
    expected, lowest = [1.0], math.inf
    for loss in history["val_loss"]:
        expected.append(expected[-1] * (1 if loss < lowest * (1 - 1e-4) else 0.5))
        lowest = min(lowest, loss)
    assert list(history["learning_rate"]) == pytest.approx(expected[:-1])
    assert len(set(history["learning_rate"])) > 1
