"""The learning rate from step to step: laws that hold for every schedule, length and warm-up."""

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
from pipeline.train.stage import train_cell
from tests.conftest import write_params

PEAK, SHARE = 0.02, 0.1  # of the decoder; the encoder's rate as a share of it

unhurried = settings(deadline=None)  # an optimizer's first step imports a part of torch, which takes seconds
lengths = st.integers(1, 200)
warm_ups = st.floats(min_value=0, max_value=0.99)
cosines = st.builds(lambda share: Cosine(name="cosine", warmup_fraction=share), warm_ups)
one_cycles = st.builds(lambda share: OneCycle(name="one_cycle", warmup_fraction=share), warm_ups.filter(bool))
every_schedule = st.one_of(st.just(Constant(name="constant")), cosines, one_cycles)


def two_groups() -> Optimizer:
    decoder, encoder = nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(1))
    return SGD([{"params": [decoder], "lr": PEAK}, {"params": [encoder], "lr": PEAK * SHARE}], momentum=0.9)


def rates(chosen: LrSchedulerSettings, steps: int) -> list[tuple[float, float]]:
    """The rates of both groups at each step of a training."""
    optimizer = two_groups()
    schedule, seen = create_lr_scheduler(optimizer, chosen, steps), []
    for _ in range(steps):
        decoder, encoder = optimizer.param_groups
        seen.append((decoder["lr"], encoder["lr"]))
        optimizer.step()
        schedule.step()
    return seen


def factors(chosen: LrSchedulerSettings, steps: int) -> list[float]:
    return [decoder / PEAK for decoder, _ in rates(chosen, steps)]


@unhurried
@given(every_schedule, lengths)
def test_no_rate_leaves_its_range_and_both_groups_keep_their_ratio(chosen: LrSchedulerSettings, steps: int) -> None:
    for decoder, encoder in rates(chosen, steps):
        assert 0 < decoder <= PEAK * (1 + 1e-9)
        assert encoder / decoder == pytest.approx(SHARE)


@unhurried
@given(every_schedule, lengths)
def test_a_rate_goes_up_once_and_down_once(chosen: LrSchedulerSettings, steps: int) -> None:
    seen = factors(chosen, steps)
    top = seen.index(max(seen))
    assert seen[: top + 1] == sorted(seen[: top + 1])
    assert seen[top:] == sorted(seen[top:], reverse=True)


@unhurried
@given(cosines, lengths)
def test_cosine_has_no_jumps_and_meets_its_ends(chosen: Cosine, steps: int) -> None:
    seen, rise = factors(chosen, steps), min(round(chosen.warmup_fraction * steps), steps - 1)
    assert seen[0] == pytest.approx(1 / (rise + 1))
    assert seen[rise] == 1
    fall = steps - rise
    assert seen[-1] == pytest.approx((1 - math.cos(math.pi / fall)) / 2)  # a step more, and it would be 0
    steepest = max(1 / (rise + 1), math.pi / 2 / fall) + 1e-9
    assert all(abs(after - before) <= steepest for before, after in pairwise(seen))


@unhurried
@given(one_cycles, st.integers(3, 200))
def test_one_cycle_has_no_jumps_and_meets_its_ends_and_its_peak(chosen: OneCycle, steps: int) -> None:
    seen, rise = factors(chosen, steps), max(chosen.warmup_fraction * steps, 2) - 1
    fall = steps - 1 - rise
    assert seen[0] == pytest.approx(1 / 25)
    assert seen[-1] == pytest.approx(1 / 25 / 1e4)
    assert abs(seen.index(max(seen)) - rise) <= 1
    steepest = math.pi / 2 / min(rise, fall) + 1e-9
    assert all(abs(after - before) <= steepest for before, after in pairwise(seen))
    if rise == int(rise):
        assert seen[int(rise)] == pytest.approx(1)
    # Between two steps, the peak is missed by half a step of a cosine at most.
    assert max(seen) >= 1 - (math.pi / 2 / max(1, min(rise, fall))) ** 2 or fall < 1


def test_one_cycle_reaches_the_rate_of_the_cell_where_the_warm_up_ends() -> None:
    seen = factors(OneCycle(name="one_cycle", warmup_fraction=0.3), 240)
    assert seen[71] == pytest.approx(1)  # the 72nd of 240 steps
    assert max(seen) == seen[71]


@pytest.mark.parametrize("steps", [1, 2])
def test_one_cycle_needs_three_steps(steps: int) -> None:
    assert factors(OneCycle(name="one_cycle", warmup_fraction=0.5), steps) == [1.0] * steps


@pytest.mark.parametrize(
    ("kind", "arguments", "key"),
    [(SGD, {"momentum": 0.5}, "momentum"), (RMSprop, {"momentum": 0.5}, "momentum"), (Adam, {}, "betas")],
)
def test_one_cycle_moves_momentum_the_other_way(kind: type[Optimizer], arguments: dict[str, Any], key: str) -> None:
    optimizer: Optimizer = kind([nn.Parameter(torch.zeros(1))], lr=PEAK, **arguments)  # type: ignore[call-arg]
    schedule, seen = create_lr_scheduler(optimizer, OneCycle(name="one_cycle", warmup_fraction=0.3), 20), []
    for _ in range(20):
        value = optimizer.param_groups[0][key]
        seen.append(value[0] if key == "betas" else value)
        optimizer.step()
        schedule.step()
    assert (seen[0], min(seen), seen[-1]) == pytest.approx((0.95, 0.85, 0.95))
    assert seen.index(min(seen)) == 5


@pytest.mark.parametrize("kind", [SGD, RMSprop])
def test_one_cycle_adds_no_momentum(kind: type[Optimizer]) -> None:
    optimizer: Optimizer = kind([nn.Parameter(torch.zeros(1))], lr=PEAK)  # type: ignore[call-arg]
    create_lr_scheduler(optimizer, OneCycle(name="one_cycle", warmup_fraction=0.3), 20)
    assert optimizer.param_groups[0]["momentum"] == 0


@unhurried
@given(
    st.lists(st.floats(min_value=0.01, max_value=2), min_size=1, max_size=40),
    st.floats(min_value=0.05, max_value=0.95),
    st.integers(0, 5),
)
def test_a_plateau_lowers_the_rate_after_more_than_patience_epochs(
    losses: list[float], factor: float, patience: int
) -> None:
    optimizer = two_groups()
    schedule = create_lr_scheduler(
        optimizer, ReduceOnPlateau(name="reduce_on_plateau", factor=factor, patience=patience), 9
    )
    assert isinstance(schedule, ReduceLROnPlateau)
    expected, lowest, waited = PEAK, math.inf, 0
    for loss in losses:
        schedule.step(loss)
        waited = 0 if loss < lowest * (1 - 1e-4) else waited + 1
        lowest = loss if waited == 0 else lowest
        if waited > patience:
            expected, waited = expected * factor, 0
        decoder, encoder = (group["lr"] for group in optimizer.param_groups)
        assert decoder == pytest.approx(expected)
        assert encoder / decoder == pytest.approx(SHARE)  # also where rates are tiny


def test_in_training_a_plateau_changes_the_rate_after_an_epoch(project: Path) -> None:
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
