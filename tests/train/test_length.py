"""The length of a training: early stopping, and more epochs of a finished run."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import Tensor

from pipeline.artifacts.project import Project
from pipeline.artifacts.run_folder import RunRecord
from pipeline.params.file import read_params
from pipeline.params.train import EarlyStopping
from pipeline.runtime.training_state import TrainingState
from pipeline.runtime.work_lock import EXTENDABLE
from pipeline.train.early_stopping import find_early_stop
from pipeline.train.train_cell import train_cell
from tests.conftest import write_params

RUN = "unet-0.01-0"
CONSTANT = {"lr_scheduler": {"name": "constant"}}
PLATEAU = {
    "lr_scheduler": {"name": "reduce_on_plateau", "factor": 0.5, "patience": 0},
    "optimizer": {"name": "sgd", "momentum": 0.9, "nesterov": False, "weight_decay": 0.0},
}
losses = st.lists(st.floats(0, 10), max_size=30)
rules = st.builds(EarlyStopping, patience=st.integers(1, 5), min_delta=st.floats(0, 1), min_epochs=st.integers(1, 20))


@given(losses, rules)
def test_training_stops_after_patience_epochs_without_improvement(val_losses: list[float], rule: EarlyStopping) -> None:
    if find_early_stop(val_losses[:-1], rule) is not None:
        return  # it has ended before
    stops = find_early_stop(val_losses, rule) == len(val_losses)
    if len(val_losses) < max(rule.min_epochs, rule.patience + 1):
        assert not stops  # the first epoch always improves
    recent, before = val_losses[-rule.patience :], val_losses[: -rule.patience]
    if before and min(recent) < min(before) - rule.min_delta:
        assert not stops
    if rule.min_delta == 0 and before and len(val_losses) >= rule.min_epochs:
        assert stops == (min(recent) >= min(before))


@given(losses)
def test_training_without_a_rule_never_stops(val_losses: list[float]) -> None:
    assert find_early_stop(val_losses, None) is None


def train(root: Path, epochs: int, settings: dict[str, Any]) -> tuple[RunRecord, list[int]]:
    """Train; return the record and the epochs that were trained now."""
    params = read_params(write_params(root, {"variants": {"unet": {"train": {**settings, "epochs": epochs}}}}))
    trained: list[int] = []

    def publish(state: TrainingState) -> None:
        if state.progress:
            trained.append(state.progress.epoch)

    return train_cell(params.cell("unet", 0.01, 0), publish=publish), trained


def read_results(root: Path) -> dict[str, bytes]:
    """Read what does not depend on the time or, as the record does, on the parameters."""
    return {
        path.name: path.read_bytes()
        for path in (root / "runs" / RUN).iterdir()
        if path.name not in ("timing.json", "run.json")
    }


@pytest.mark.parametrize("settings", [CONSTANT, PLATEAU], ids=["constant", "plateau"])
def test_longer_run_has_the_bytes_of_one_that_was_longer_from_the_start(
    project: Path, settings: dict[str, Any]
) -> None:
    expected, _ = train(project, 5, settings)
    files = read_results(project)
    shutil.rmtree(project / EXTENDABLE)
    shutil.rmtree(project / "runs")
    train(project, 2, settings)
    record, trained = train(project, 5, settings)
    assert trained == [3, 4, 5]
    assert record == expected
    assert read_results(project) == files


def test_schedule_with_a_fixed_end_starts_from_the_beginning(project: Path) -> None:
    train(project, 2, {})
    assert train(project, 3, {})[1] == [1, 2, 3]
    assert not (project / EXTENDABLE).exists()


def test_finished_run_is_trained_from_the_beginning_if_it_is_not_longer(project: Path) -> None:
    train(project, 3, CONSTANT)
    assert train(project, 3, CONSTANT)[1] == [1, 2, 3]
    assert train(project, 2, CONSTANT)[1] == [1, 2]


def test_other_settings_do_not_continue_a_run(project: Path) -> None:
    train(project, 2, CONSTANT)
    assert train(project, 3, {**CONSTANT, "batch_size": 6})[1] == [1, 2, 3]


def test_run_stops_early_and_continues_with_more_patience(project: Path) -> None:
    impatient = {**CONSTANT, "early_stopping": {"patience": 1, "min_delta": 5.0, "min_epochs": 1}}
    record, trained = train(project, 6, impatient)
    assert (record.status, record.epochs, trained) == ("stopped_early", 2, [1, 2])
    assert "stopped early after 2 epochs" in record.describe_end()
    assert train(project, 6, impatient)[1] == [1, 2]  # not continued: the rule is the same
    record, trained = train(project, 4, {**CONSTANT, "early_stopping": {"patience": 9}})
    assert (record.status, trained) == ("finished", [3, 4])


def test_run_that_would_have_stopped_before_is_not_continued(project: Path) -> None:
    train(project, 4, CONSTANT)
    impatient = {**CONSTANT, "early_stopping": {"patience": 1, "min_delta": 5.0}}
    record, trained = train(project, 6, impatient)
    assert (record.status, trained) == ("stopped_early", [1, 2])


def test_run_never_stops_before_its_least_number_of_epochs(project: Path) -> None:
    rule = {"patience": 1, "min_delta": 5.0, "min_epochs": 4}
    record, _ = train(project, 6, {**CONSTANT, "early_stopping": rule})
    assert (record.status, record.epochs) == ("stopped_early", 4)
    record, _ = train(project, 4, {**CONSTANT, "early_stopping": rule})
    assert record.status == "finished"  # all epochs were trained


def test_record_does_not_depend_on_the_frozen_encoder(project: Path) -> None:
    unfrozen, _ = train(project, 1, CONSTANT)
    frozen, _ = train(project, 1, {**CONSTANT, "freeze_encoder_epochs": 1})
    assert frozen.trainable_parameters == unfrozen.trainable_parameters


def test_encoder_with_a_factor_of_0_is_frozen_in_all_epochs(project: Path) -> None:
    def train_lite0(settings: dict[str, Any]) -> tuple[RunRecord, dict[str, Tensor]]:
        changes = {"variants": {"lite0": {"train": {"epochs": 2, "encoder_lr_factor": 1.0, **settings}}}}
        cell = read_params(write_params(project, changes)).cell("lite0", 0.01, 0)
        return train_cell(cell), load_file(Project(project).run(cell.name).weights)

    frozen, expected = train_lite0({"freeze_encoder_epochs": 2})
    untrained, found = train_lite0({"encoder_lr_factor": 0.0})
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, rtol=0, atol=0)
    assert untrained.key != frozen.key
    encoder = sum(tensor.numel() for name, tensor in found.items() if "encoder" in name and "running" not in name)
    assert frozen.trainable_parameters - encoder <= untrained.trainable_parameters < frozen.trainable_parameters
