"""Resumed trainings: the same bytes and logged points as without interruption, even with damaged checkpoints."""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mlflow import MlflowClient

from pipeline.artifacts.run_folder import RunFolder
from pipeline.errors import PipelineError
from pipeline.params import Cell, Params
from pipeline.params.file import read_params
from pipeline.runtime.progress import EpochProgress
from pipeline.runtime.shutdown import defer_signals
from pipeline.runtime.work_lock import RunLock, list_unfinished
from pipeline.tracking import background_logger
from pipeline.tracking.mlflow_run import MlflowRun
from pipeline.tracking.run_content import RunContent
from pipeline.train.checkpoints import CheckpointManager
from pipeline.train.run_results import RunResults
from pipeline.train.train_cell import train_and_log, train_cell
from tests.conftest import StartProcess, write_params

RUN = "unet-0.01-0"
EPOCHS = 5
RECIPES: dict[str, dict[str, Any]] = {
    "adamw, one cycle, averaged": {},
    "sgd, plateau": {
        "optimizer": {"name": "sgd", "momentum": 0.9, "nesterov": True, "weight_decay": 0.0},
        "lr_scheduler": {"name": "reduce_on_plateau", "factor": 0.5, "patience": 0},
        "ema_decay": 0.0,
    },
    "rmsprop, cosine, all augmentation": {
        "optimizer": {"name": "rmsprop", "alpha": 0.9, "momentum": 0.0, "weight_decay": 0.0},
        "lr_scheduler": {"name": "cosine", "warmup_fraction": 0.2},
        "augmentation": {"color_jitter": 0.2, "blur_prob": 0.5, "random_erasing_prob": 0.5},
    },
    "float32": {"precision": "float32"},
    "frozen encoder, accumulated and clipped gradients, early stopping": {
        "freeze_encoder_epochs": 3,
        "gradient_accumulation_steps": 2,
        "max_grad_norm": 0.1,
        "early_stopping": {"patience": 1, "min_epochs": 4},
    },
    "class and boundary weights": {"class_weights": "inverse", "boundary_weight": {"w0": 10.0, "sigma": 5.0}},
}


class StoppedError(Exception):
    """Stops a training after an epoch."""


def train(root: Path, recipe: dict[str, Any], stop: int | None = None, *, is_logged: bool = False) -> list[int]:
    """Train up to an epoch, or to the end; return the trained epochs."""
    epochs: list[int] = []

    def listen(report: EpochProgress) -> None:
        epochs.append(report.epoch)
        if report.epoch == stop:
            raise StoppedError

    params, cell = create_cell(root, recipe)
    if is_logged:
        train_and_log(params, cell, listen=listen)
    else:
        train_cell(cell, publish=lambda state: listen(state.progress) if state.progress else None)
    return epochs


def create_cell(root: Path, recipe: dict[str, Any]) -> tuple[Params, Cell]:
    changes = {"model": {"dropout": 0.2}, "train": {"epochs": EPOCHS}, "variants": {"unet": {"train": recipe}}}
    params = read_params(write_params(root, changes))
    return params, params.cell("unet", 0.01, 0)


def train_until(root: Path, recipe: dict[str, Any], stop: int, *, is_logged: bool = False) -> Path:
    """Train up to an epoch; return the folder of its checkpoints."""
    with pytest.raises(StoppedError):
        train(root, recipe, stop, is_logged=is_logged)
    (unfinished,) = list_unfinished()
    return unfinished.folder


def read_run(root: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (root / "runs" / RUN).iterdir() if path.name != "timing.json"}


def train_without_interruption(root: Path, recipe: dict[str, Any], *, is_logged: bool = False) -> dict[str, bytes]:
    train(root, recipe, is_logged=is_logged)
    files = read_run(root)
    shutil.rmtree(root / "runs")
    return files


def load_points(root: Path) -> list[tuple[str, int, float]]:
    client = MlflowClient(f"sqlite:///{root / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("learning-report")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "FINISHED"
    return [
        (name, point.step, point.value)
        for name in sorted(run.data.metrics)
        for point in client.get_metric_history(run.info.run_id, name)
    ]


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES.keys())
def test_resumed_training_has_the_bytes_of_an_uninterrupted_one(
    project: Path, store: Path, recipe: dict[str, Any]
) -> None:
    expected, logged = train_without_interruption(project, recipe, is_logged=True), load_points(project)
    shutil.copy(store, project / "mlflow.db")
    assert len(list(train_until(project, recipe, 2, is_logged=True).glob("*.checkpoint"))) == 2
    with pytest.raises(StoppedError):
        train(project, recipe, 3, is_logged=True)  # resumes after epoch 2
    train(project, recipe, is_logged=True)
    assert read_run(project) == expected
    assert load_points(project) == logged
    assert len({(name, step) for name, step, _ in logged}) == len(logged)
    assert list_unfinished() == []


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def flip_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def clear(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("damage", [truncate, flip_bit, clear])
@pytest.mark.parametrize("num_damaged", [1, 2])
def test_damaged_checkpoint_is_not_used(
    project: Path, caplog: pytest.LogCaptureFixture, damage: Callable[[Path], None], num_damaged: int
) -> None:
    expected = train_without_interruption(project, {})
    files = sorted(train_until(project, {}, 3).glob("*.checkpoint"))
    for path in files[-num_damaged:]:
        damage(path)
    assert train(project, {})[0] == (3 if num_damaged == 1 else 1)
    assert f"{files[-1].name} is not used" in caplog.text
    assert read_run(project) == expected


def test_other_parameters_do_not_use_the_checkpoint(project: Path) -> None:
    train_until(project, {}, 3)
    other = {"optimizer": {"weight_decay": 0.02}}
    expected = train_without_interruption(project, other)
    assert len(list_unfinished()) == 1  # the stopped run can still be resumed
    train(project, other)
    assert read_run(project) == expected


def test_resume_after_the_last_epoch_only_writes_the_folder(project: Path) -> None:
    """The training was killed while it wrote its folder: no epoch is trained again."""
    expected = train_without_interruption(project, {})
    train_until(project, {}, EPOCHS)
    assert (train(project, {}), read_run(project)) == ([], expected)


def test_unwritable_checkpoint_causes_one_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").touch()
    checkpoints = CheckpointManager(tmp_path / "file", RUN)
    for epoch in (1, 2):
        checkpoints.save(epoch, {})
    assert len([record for record in caplog.records if "without a checkpoint" in record.message]) == 1


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(data=st.data())
def test_checkpoint_with_any_changed_byte_is_not_used(tmp_path: Path, data: st.DataObject) -> None:
    checkpoints = CheckpointManager(tmp_path, RUN)
    for epoch in (1, 2):
        checkpoints.save(epoch, {"epoch": epoch, "weights": torch.arange(20.0)})
    content = bytearray((tmp_path / "epoch-000002.checkpoint").read_bytes())
    index = data.draw(st.integers(0, len(content) - 1))
    content[index] ^= data.draw(st.integers(1, 255))
    (tmp_path / "epoch-000002.checkpoint").write_bytes(content)
    loaded = checkpoints.load_newest()
    assert loaded is not None
    assert loaded["epoch"] == 1


def test_run_that_another_process_trains_is_refused(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.runtime.work_lock.WAIT_SECONDS", 0.2)
    key = train_cell(create_cell(project, {})[1]).key
    with (
        RunLock(key).hold(),
        pytest.raises(
            PipelineError, match=rf"Another training process for this run is running \(process {os.getpid()} on"
        ),
    ):
        train(project, {})


def test_run_lock_is_acquired_after_its_folder_was_removed(tmp_path: Path) -> None:
    """A completed run removes its folder; a waiting process must not hold the lock of the removed folder."""
    run, acquired = RunLock("a" * 64, tmp_path), threading.Event()

    def wait() -> None:
        with RunLock("a" * 64, tmp_path).hold():
            assert (run.folder / "lock").exists()
            acquired.set()

    thread = threading.Thread(target=wait)
    with run.hold():
        thread.start()
        time.sleep(0.3)
        assert not acquired.is_set()
        shutil.rmtree(run.folder)
    thread.join(20)
    assert acquired.is_set()


def test_state_that_cannot_be_loaded_is_reported_on_save(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    checkpoints = CheckpointManager(tmp_path, RUN)
    checkpoints.save(1, {"rate": np.float64(0.1)})
    assert "does not consist of tensors and numbers" in caplog.text
    assert checkpoints.load_newest() is None


def test_checkpoint_that_the_optimizer_refuses_names_the_folder_to_remove(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A custom optimizer may save a state that it cannot load."""
    train_until(project, {}, 2)

    def refuse(self: torch.optim.Optimizer, state: object) -> None:
        raise KeyError("momentum")

    monkeypatch.setattr(torch.optim.AdamW, "load_state_dict", refuse)
    with pytest.raises(
        PipelineError, match=r"KeyError \('momentum'\).*remove \.cache/unfinished/[0-9a-f]{64} and \.cache/extendable\."
    ):
        train(project, {})


def _train_until_signal(root: Path) -> None:
    """Receive SIGTERM after the last epoch, before all points are uploaded to a slow MLflow."""
    write, upload = RunResults.write, MlflowRun.upload

    def write_and_signal(self: RunResults, *arguments: Any) -> None:
        write(self, *arguments)
        os.kill(os.getpid(), signal.SIGTERM)

    def upload_slowly(self: MlflowRun, content: RunContent) -> None:
        time.sleep(10)
        upload(self, content)

    RunResults.write = write_and_signal  # type: ignore[method-assign]
    MlflowRun.upload = upload_slowly  # type: ignore[method-assign]
    background_logger.END_SECONDS = 2
    defer_signals()
    train(root, {}, is_logged=True)


def test_signal_after_the_last_epoch_loses_no_point(project: Path, start_process: StartProcess) -> None:
    process = start_process(_train_until_signal, project)
    process.join()
    # On a busy machine the operating system ends the process first, while Python unloads its modules.
    assert process.exitcode in (128 + signal.SIGTERM, -signal.SIGALRM)
    assert len(list_unfinished()) == 1
    assert train(project, {}, is_logged=True) == []
    client = MlflowClient(os.environ["MLFLOW_TRACKING_URI"])
    experiment = client.get_experiment_by_name("learning-report")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    assert (run.info.status, run.data.tags["pipeline.run_key"]) == (
        "FINISHED",
        RunFolder(project / "runs" / RUN).record.key,
    )
    assert [point.step for point in client.get_metric_history(run.info.run_id, "loss/val")] == [1, 2, 3, 4, 5]
    assert list_unfinished() == []
