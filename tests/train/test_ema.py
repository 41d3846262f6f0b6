"""The running mean of the weights: its laws, and that it is what a run keeps."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import nn

from pipeline.errors import PipelineError
from pipeline.evaluate.stage import evaluate_run
from pipeline.models.factory import build_network
from pipeline.params.file import read_params
from pipeline.params.model import UNetModel
from pipeline.train.ema import create_ema
from pipeline.train.stage import train_cell
from tests.conftest import write_params

RUN = "unet-0.01-0"
unhurried = settings(deadline=None)
smoothings = st.floats(min_value=0.01, max_value=0.9999)
numbers = st.floats(min_value=-1e3, max_value=1e3, width=32)


class Number(nn.Module):
    """A network of one weight."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.tensor(value))


def mean_of(start: float, visited: list[float], smoothing: float) -> float:
    """Where the mean of a weight stands that was at `start` and then at each number of `visited`."""
    network = Number(start)
    mean = create_ema(network, smoothing)
    for value in visited:
        network.value.data.fill_(value)
        mean.update_parameters(network)
    return float(mean.module.value.detach())


@unhurried
@given(numbers, smoothings, st.integers(1, 50))
def test_weights_that_stay_are_their_mean(value: float, smoothing: float, steps: int) -> None:
    assert mean_of(value, [value] * steps, smoothing) == value


@unhurried
@given(numbers, st.lists(numbers, min_size=1, max_size=50), smoothings)
def test_the_mean_lies_among_the_weights_visited(start: float, visited: list[float], smoothing: float) -> None:
    mean, span = mean_of(start, visited, smoothing), max(map(abs, visited)) * 1e-6 + 1e-30
    assert min(visited) - span <= mean <= max(visited) + span


@unhurried
@given(numbers, st.lists(numbers, min_size=1, max_size=20), smoothings)
def test_the_initial_weights_leave_no_trace(start: float, visited: list[float], smoothing: float) -> None:
    assert mean_of(start, visited, smoothing) == mean_of(0.0, visited, smoothing)


def test_the_first_steps_are_soon_forgotten_and_later_ones_as_asked() -> None:
    assert abs(mean_of(0.0, [1e3] + [0.0] * 50, 0.999)) < 1e-4
    settled = [0.0] * 200
    assert mean_of(0.0, [*settled, 1.0], 0.9) == pytest.approx(0.1)
    assert mean_of(0.0, [*settled, 1.0, 0.0], 0.9) == pytest.approx(0.09)


def test_the_mean_is_a_network_of_the_same_names_kinds_and_layout() -> None:
    torch.manual_seed(0)
    model = UNetModel(
        family="unet",
        base_channels=4,
        depth=2,
        upsampling="transpose",
        skip_connections="concat",
        norm="batch",
        dropout=0.0,
    )
    network = build_network(model, channels=3, classes=3).to(memory_format=torch.channels_last)
    mean = create_ema(network, 0.9)
    for _ in range(3):
        network(torch.rand(2, 3, 8, 8))
        mean.update_parameters(network)
    now = network.state_dict()
    assert list(mean.module.state_dict()) == list(now)
    for name, tensor in mean.module.state_dict().items():
        assert (tensor.dtype, tensor.shape, tensor.stride()) == (now[name].dtype, now[name].shape, now[name].stride())
        if not tensor.is_floating_point():
            assert int(tensor) == int(now[name]) == 3  # batches seen: counted, not averaged
    running = {name for name in now if name.endswith("running_mean")}
    assert all(not torch.equal(mean.module.state_dict()[name], now[name]) for name in running)


def test_a_network_that_cannot_be_copied_is_named() -> None:
    network = Number(1.0)
    network.seen = network.value * 2  # type: ignore[assignment]  # a result that hangs on its computation
    with pytest.raises(PipelineError, match=r"^train\.ema_decay: must be 0\.0 for this network, but is 0\.9: copying"):
        create_ema(network, 0.9)


def test_a_run_keeps_and_scores_the_mean_and_is_trained_as_without(project: Path) -> None:
    histories, weights = {}, {}
    for smoothing in (0.0, 0.9):
        params = read_params(write_params(project, {"train": {"ema_decay": smoothing, "epochs": 3}}))
        record = train_cell(params.cell("unet", 0.01, 0))
        histories[smoothing] = pd.read_csv(project / "runs" / RUN / "history.csv")
        weights[smoothing] = load_file(project / "runs" / RUN / "model.safetensors")
        scores = evaluate_run(params, RUN)
        assert scores.validation is not None
        best = histories[smoothing].set_index("epoch")["val_loss"][record.best_epoch]
        assert scores.validation.loss == pytest.approx(best, rel=1e-6)
    assert list(histories[0.0]["objective"]) == list(histories[0.9]["objective"])
    assert (histories[0.0]["val_loss"] != histories[0.9]["val_loss"]).all()
    assert list(weights[0.0]) == list(weights[0.9])
    assert not torch.equal(weights[0.0]["1.head.weight"], weights[0.9]["1.head.weight"])
