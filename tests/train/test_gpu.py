"""Training on a GPU: losses close to those on the CPU, resuming, and precision."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from pipeline.artifacts.project import RUNS, Project
from pipeline.artifacts.run_folder import RunFolder
from pipeline.evaluate.evaluate_run import evaluate_run
from pipeline.models.precision import resolve_precision, select_device
from pipeline.params.file import read_params
from pipeline.train.train_cell import train_and_log
from tests.conftest import write_params

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


def train_losses(project: Path, changes: dict[str, object]) -> list[float]:
    """Train and evaluate the tiny U-Net; return the validation losses of the epochs."""
    params = read_params(write_params(project, {"train": {"epochs": 3, **changes}}))
    val_losses: list[float] = []
    cell = params.cell("unet", 0.01, 0)
    train_and_log(params, cell, lambda epoch: val_losses.append(epoch.val_loss))
    assert evaluate_run(params, cell.name, Project(project)).validation is not None
    return val_losses


@pytest.mark.parametrize("precision", ["auto", "float32"])
def test_gpu_trains_and_evaluates(project: Path, precision: str) -> None:
    assert select_device().type == "cuda"
    assert len(train_losses(project, {"precision": precision})) == 3
    record = RunFolder(project / RUNS / "unet-0.01-0").record
    assert record.precision == (resolve_precision("auto") if precision == "auto" else precision)


def test_gpu_losses_are_close_to_cpu_losses(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gpu_losses = train_losses(project, {"precision": "float32"})
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    cpu_losses = train_losses(project, {"precision": "float32"})
    assert cpu_losses == pytest.approx(gpu_losses, rel=0.1)


def test_training_stopped_on_a_gpu_is_resumed(project: Path) -> None:
    params = read_params(write_params(project, {"train": {"epochs": 4}, "model": {"dropout": 0.5}}))
    cell = params.cell("unet", 0.01, 0)

    def stop(epoch: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_and_log(params, cell, stop)
    epochs: list[int] = []
    train_and_log(params, cell, lambda epoch: epochs.append(epoch.epoch))
    assert epochs == [2, 3, 4]
