"""A training that is stopped and begun again: the same bits, the same points, whatever the checkpoints went through."""

from __future__ import annotations

import multiprocessing
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

from pipeline.artifacts.run_folder import RunRecord
from pipeline.errors import PipelineError
from pipeline.params.file import read_params
from pipeline.runtime.progress import EpochProgress
from pipeline.runtime.shutdown import defer_signals
from pipeline.runtime.work_lock import RunLock, list_unfinished
from pipeline.tracking import background_logger
from pipeline.tracking.mlflow_run import MlflowRun
from pipeline.tracking.run_metrics import RunContent
from pipeline.train.checkpoints import CheckpointManager
from pipeline.train.run_writer import RunWriter
from pipeline.train.stage import train_and_log, train_cell
from tests.conftest import write_params

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
}


class StoppedError(Exception):
    """A training that is stopped after an epoch."""


def train(root: Path, recipe: dict[str, Any], stop: int | None = None) -> RunRecord:
    def listen(report: EpochProgress) -> None:
        if report.epoch == stop:
            raise StoppedError

    changes = {"model": {"dropout": 0.2}, "train": {"epochs": EPOCHS}, "variants": {"unet": {"train": recipe}}}
    params = read_params(write_params(root, changes))
    return train_and_log(params, params.cell("unet", 0.01, 0), listen=listen)


def stopped(root: Path, recipe: dict[str, Any], stop: int) -> Path:
    """Train up to an epoch; returns the folder of its checkpoints."""
    with pytest.raises(StoppedError):
        train(root, recipe, stop)
    (left,) = list_unfinished()
    return left.folder


def content(root: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (root / "runs" / RUN).iterdir() if path.name != "timing.json"}


def undisturbed(root: Path, recipe: dict[str, Any]) -> dict[str, bytes]:
    train(root, recipe)
    found = content(root)
    shutil.rmtree(root / "runs")
    return found


def points(root: Path) -> list[tuple[str, int, float]]:
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
def test_a_stopped_training_ends_with_the_bits_of_one_that_was_not(project: Path, recipe: dict[str, Any]) -> None:
    expected, sent = undisturbed(project, recipe), points(project)
    (project / "mlflow.db").unlink()
    assert len(list(stopped(project, recipe, 2).glob("*.checkpoint"))) == 2
    with pytest.raises(StoppedError):
        train(project, recipe, 3)  # goes on after 2
    train(project, recipe)
    assert content(project) == expected
    assert points(project) == sent
    assert len({(name, step) for name, step, _ in sent}) == len(sent)
    assert list_unfinished() == []


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def flip(path: Path) -> None:
    whole = bytearray(path.read_bytes())
    whole[len(whole) // 2] ^= 1
    path.write_bytes(whole)


def empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("harm", [cut, flip, empty])
@pytest.mark.parametrize("broken", [1, 2])
def test_a_broken_checkpoint_is_not_used(
    project: Path, caplog: pytest.LogCaptureFixture, harm: Callable[[Path], None], broken: int
) -> None:
    expected = undisturbed(project, {})
    files = sorted(stopped(project, {}, 3).glob("*.checkpoint"))
    for path in files[-broken:]:
        harm(path)
    first: list[int] = []
    params = read_params(project / "params.yaml")
    train_cell(params.cell("unet", 0.01, 0), listen=lambda report: first.append(report.epoch))
    assert first[0] == (3 if broken == 1 else 1)
    assert f"{files[-1].name} is not used" in caplog.text
    assert content(project) == expected


def test_other_parameters_do_not_go_on_from_it(project: Path) -> None:
    stopped(project, {}, 3)
    other = {"optimizer": {"weight_decay": 0.02}}
    expected = undisturbed(project, other)
    assert len(list_unfinished()) == 1  # what was stopped can still go on
    train(project, other)
    assert content(project) == expected


def test_all_epochs_there_but_no_folder(project: Path) -> None:
    """Killed while its folder was written: nothing is trained again."""
    expected = undisturbed(project, {})
    stopped(project, {}, EPOCHS)
    seen: list[EpochProgress] = []
    params = read_params(project / "params.yaml")
    train_cell(params.cell("unet", 0.01, 0), listen=seen.append)
    assert (seen, content(project)) == ([], expected)


def test_a_disk_that_takes_no_checkpoint_costs_no_training(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").touch()
    checkpoints = CheckpointManager(tmp_path / "file", RUN)
    for epoch in (1, 2):
        checkpoints.save(epoch, {})
    assert len([record for record in caplog.records if "without a checkpoint" in record.message]) == 1


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(data=st.data())
def test_any_changed_byte_is_noticed(tmp_path: Path, data: st.DataObject) -> None:
    checkpoints = CheckpointManager(tmp_path, RUN)
    for epoch in (1, 2):
        checkpoints.save(epoch, {"epoch": epoch, "weights": torch.arange(20.0)})
    whole = bytearray((tmp_path / "epoch-000002.checkpoint").read_bytes())
    place = data.draw(st.integers(0, len(whole) - 1))
    whole[place] ^= data.draw(st.integers(1, 255))
    (tmp_path / "epoch-000002.checkpoint").write_bytes(whole)
    found = checkpoints.load_newest()
    assert found is not None
    assert found["epoch"] == 1


def test_one_that_trains_the_same_is_waited_for_and_named(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.runtime.work_lock.WAIT_SECONDS", 0.2)
    key = train(project, {}).key
    with (
        RunLock(key).hold(),
        pytest.raises(PipelineError, match=rf"training of exactly this run is running \(process {os.getpid()} on"),
    ):
        train(project, {})


def test_who_waits_for_a_run_that_is_completed_meanwhile_may_begin(tmp_path: Path) -> None:
    """The folder goes with the run; a lock of a folder that is gone locks nothing."""
    run, begun = RunLock("a" * 64, tmp_path), threading.Event()

    def wait() -> None:
        with RunLock("a" * 64, tmp_path).hold():
            assert (run.folder / "lock").exists()
            begun.set()

    waiting = threading.Thread(target=wait)
    with run.hold():
        waiting.start()
        time.sleep(0.3)
        assert not begun.is_set()
        shutil.rmtree(run.folder)
    waiting.join(20)
    assert begun.is_set()


def test_a_state_that_cannot_be_read_back_is_told_at_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    checkpoints = CheckpointManager(tmp_path, RUN)
    checkpoints.save(1, {"rate": np.float64(0.1)})
    assert "does not consist of tensors and numbers" in caplog.text
    assert checkpoints.load_newest() is None


def test_what_cannot_be_taken_up_says_what_to_remove(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user's own optimizer may write a state that it does not read."""
    stopped(project, {}, 2)

    def refuse(self: torch.optim.Optimizer, state: object) -> None:
        raise KeyError("momentum")

    monkeypatch.setattr(torch.optim.AdamW, "load_state_dict", refuse)
    with pytest.raises(PipelineError, match=r"KeyError \('momentum'\).*remove \.cache/unfinished/[0-9a-f]{64}\."):
        train(project, {})


def _train_until_signal(root: Path) -> None:
    """Receive SIGTERM after the last epoch, before a slow MLflow has all points."""
    write, upload = RunWriter.write, MlflowRun.upload

    def write_and_signal(self: RunWriter, *arguments: Any) -> None:
        write(self, *arguments)
        os.kill(os.getpid(), signal.SIGTERM)

    def upload_slowly(self: MlflowRun, content: RunContent) -> None:
        time.sleep(10)
        upload(self, content)

    RunWriter.write = write_and_signal  # type: ignore[method-assign]
    MlflowRun.upload = upload_slowly  # type: ignore[method-assign]
    background_logger.END_SECONDS = 2
    defer_signals()
    train(root, {})


def test_signal_after_the_last_epoch_loses_no_point(project: Path) -> None:
    process = multiprocessing.get_context("spawn").Process(target=_train_until_signal, args=(project,))
    process.start()
    process.join()
    assert process.exitcode == 128 + signal.SIGTERM
    assert len(list_unfinished()) == 1
    record = train(project, {}, stop=EPOCHS)  # nothing is left to train, so that `stop` is not reached
    client = MlflowClient(os.environ["MLFLOW_TRACKING_URI"])
    experiment = client.get_experiment_by_name("learning-report")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    assert (run.info.status, run.data.tags["pipeline.run_key"]) == ("FINISHED", record.key)
    assert [point.step for point in client.get_metric_history(run.info.run_id, "loss/val")] == [1, 2, 3, 4, 5]
    assert list_unfinished() == []
