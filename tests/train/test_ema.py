"""The exponential moving average of weights: its properties, and that a run saves it."""

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
from pipeline.evaluate.evaluate_run import evaluate_run
from pipeline.models.factory import build_network
from pipeline.params.file import read_params
from pipeline.params.model import UNetModel
from pipeline.train.ema import create_ema
from pipeline.train.train_cell import train_cell
from tests.conftest import write_params

RUN = "unet-0.01-0"
without_deadline = settings(deadline=None)
decays = st.floats(min_value=0.01, max_value=0.9999)
numbers = st.floats(min_value=-1e3, max_value=1e3, width=32)


class OneWeight(nn.Module):
    """A network with one weight."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.tensor(value))


def average(start: float, values: list[float], decay: float) -> float:
    """Return the moving average of a weight that is `start` and then each of `values`."""
    network = OneWeight(start)
    mean = create_ema(network, decay)
    for value in values:
        network.value.data.fill_(value)
        mean.update_parameters(network)
    return float(mean.module.value.detach())


@without_deadline
@given(numbers, decays, st.integers(1, 50))
def test_average_of_constant_weights_is_constant(value: float, decay: float, steps: int) -> None:
    assert average(value, [value] * steps, decay) == value


@without_deadline
@given(numbers, st.lists(numbers, min_size=1, max_size=50), decays)
def test_average_is_within_the_range_of_the_weights(start: float, values: list[float], decay: float) -> None:
    mean, span = average(start, values, decay), max(map(abs, values)) * 1e-6 + 1e-30
    assert min(values) - span <= mean <= max(values) + span


@without_deadline
@given(numbers, st.lists(numbers, min_size=1, max_size=20), decays)
def test_average_ignores_the_initial_weights(start: float, values: list[float], decay: float) -> None:
    assert average(start, values, decay) == average(0.0, values, decay)


def test_average_uses_a_smaller_decay_in_the_first_steps() -> None:
    assert abs(average(0.0, [1e3] + [0.0] * 50, 0.999)) < 1e-4
    settled = [0.0] * 200
    assert average(0.0, [*settled, 1.0], 0.9) == pytest.approx(0.1)
    assert average(0.0, [*settled, 1.0, 0.0], 0.9) == pytest.approx(0.09)


def test_average_has_the_names_dtypes_and_layout_of_the_network() -> None:
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
    state = network.state_dict()
    assert list(mean.module.state_dict()) == list(state)
    for name, tensor in mean.module.state_dict().items():
        assert (tensor.dtype, tensor.shape, tensor.stride()) == (
            state[name].dtype,
            state[name].shape,
            state[name].stride(),
        )
        if not tensor.is_floating_point():
            assert int(tensor) == int(state[name]) == 3  # num_batches_tracked is copied, not averaged
    running = {name for name in state if name.endswith("running_mean")}
    assert all(not torch.equal(mean.module.state_dict()[name], state[name]) for name in running)


def test_network_that_cannot_be_copied_is_refused() -> None:
    network = OneWeight(1.0)
    network.seen = network.value * 2  # type: ignore[assignment]  # a tensor that requires its graph
    with pytest.raises(PipelineError, match=r"^train\.ema_decay: must be 0\.0 for this network, but is 0\.9: copying"):
        create_ema(network, 0.9)


def test_run_saves_and_evaluates_the_average_without_changing_the_training(project: Path) -> None:
    histories, weights = {}, {}
    for decay in (0.0, 0.9):
        params = read_params(write_params(project, {"train": {"ema_decay": decay, "epochs": 3}}))
        record = train_cell(params.cell("unet", 0.01, 0))
        histories[decay] = pd.read_csv(project / "runs" / RUN / "history.csv")
        weights[decay] = load_file(project / "runs" / RUN / "model.safetensors")
        scores = evaluate_run(params, RUN)
        assert scores.validation is not None
        best = histories[decay].set_index("epoch")["val_loss"][record.best_epoch]
        assert scores.validation.loss == pytest.approx(best, rel=1e-6)
    assert list(histories[0.0]["objective"]) == list(histories[0.9]["objective"])
    assert (histories[0.0]["val_loss"] != histories[0.9]["val_loss"]).all()
    assert list(weights[0.0]) == list(weights[0.9])
    assert not torch.equal(weights[0.0]["1.head.weight"], weights[0.9]["1.head.weight"])
