import logging
import math
import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pipeline.params import Tracking
from pipeline.runtime.shutdown import check_signals, defer_signals
from pipeline.tracking.background_logger import log_in_background
from pipeline.tracking.mirror import End, Mirror
from pipeline.tracking.store import open_client, tracking_uri

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

Open = Callable[..., Mirror]

EPOCHS = {1: {"train_loss": 0.9, "val_iou/pet": 0.3}, 2: {"train_loss": 0.7, "val_iou/pet": 0.5}}


@pytest.fixture
def client(project: Path, tracking: Tracking) -> "MlflowClient":
    return open_client(tracking_uri(tracking))


def _run(client: "MlflowClient", mirror: Mirror) -> "Run":
    assert mirror.run_id
    return client.get_run(mirror.run_id)


def _points(client: "MlflowClient", mirror: Mirror, name: str) -> list[tuple[int, int, float]]:
    history = client.get_metric_history(_run(client, mirror).info.run_id, name)
    return [(point.step, point.timestamp, point.value) for point in history]


def _send(mirror: Mirror, timestamp: int) -> None:
    for epoch, values in EPOCHS.items():
        mirror.log_epoch(epoch, values, timestamp + epoch)
    mirror.log_values({"gap": 0.2}, timestamp + 3)


def test_a_run_is_mirrored(client: "MlflowClient", open_mirror: Open) -> None:
    mirror = open_mirror(tags={"pipeline.stage": "train"})
    assert _run(client, mirror).info.status == "RUNNING"
    _send(mirror, 1000)
    mirror.end("FINISHED")
    run = _run(client, mirror)
    assert (run.info.run_name, run.info.status) == ("unet-0.001-0", "FINISHED")
    assert run.data.params == {"variant": "unet", "model.depth": "4"}
    assert run.data.tags["pipeline.stage"] == "train"
    assert run.data.metrics == {"train_loss": 0.7, "val_iou/pet": 0.5, "gap": 0.2}
    assert _points(client, mirror, "train_loss") == [(1, 1001, 0.9), (2, 1002, 0.7)]
    assert _points(client, mirror, "gap") == [(0, 1003, 0.2)]


def test_the_same_numbers_again_stand_there_once(client: "MlflowClient", open_mirror: Open) -> None:
    first = open_mirror()
    _send(first, 1000)
    _send(first, 1000)
    _send(first, 2000)
    first.end("KILLED")
    again = open_mirror(parameters={"variant": "other words", "added": 1})
    _send(again, 3000)
    again.log_epoch(3, {"train_loss": 0.6}, 3003)
    assert again.run_id == first.run_id
    assert _points(client, again, "train_loss") == [(1, 1001, 0.9), (2, 1002, 0.7), (3, 3003, 0.6)]
    assert _points(client, again, "gap") == [(0, 1003, 0.2)]
    assert _run(client, again).data.params == {"variant": "unet", "model.depth": "4", "added": "1"}


def test_a_training_with_other_numbers_takes_the_place_of_the_first(
    client: "MlflowClient", open_mirror: Open, tracking: Tracking
) -> None:
    first = open_mirror(tags={"pipeline.stage": "train"})
    _send(first, 1000)
    first.end("FINISHED")
    second = open_mirror()
    second.log_epoch(1, EPOCHS[1], 2001)
    second.log_epoch(2, {"train_loss": 0.71, "val_iou/pet": 0.5}, 2002)
    second.log_epoch(2, {"train_loss": 0.71, "val_iou/pet": 0.5}, 2003)
    second.end("FINISHED")

    run = _run(client, second)
    assert second.run_id != first.run_id
    assert (run.info.run_name, run.info.status) == ("unet-0.001-0", "FINISHED")
    assert run.data.params == {"variant": "unet", "model.depth": "4"}
    assert run.data.tags["pipeline.stage"] == "train"
    assert run.data.tags["pipeline.replaces"] == first.run_id
    assert _points(client, second, "train_loss") == [(1, 1001, 0.9), (2, 2002, 0.71)]
    assert "gap" not in run.data.metrics  # the first training's
    old = _run(client, first)
    assert (old.info.lifecycle_stage, old.data.tags["pipeline.replaced_by"]) == ("deleted", second.run_id)
    assert open_mirror().run_id == second.run_id
    assert len(client.search_runs([run.info.experiment_id])) == 1


def test_a_changed_single_value_counts(client: "MlflowClient", open_mirror: Open) -> None:
    mirror = open_mirror()
    mirror.log_values({"gap": 0.2}, 1000)
    mirror.log_values({"gap": 0.1}, 1000)
    assert _run(client, mirror).data.metrics == {"gap": 0.1}


def test_a_deleted_run_is_restored(client: "MlflowClient", open_mirror: Open, tracking: Tracking) -> None:
    first = open_mirror()
    _send(first, 1000)
    client.delete_run(_run(client, first).info.run_id)
    from_the_key = "5e" * 32
    assert Mirror.find(tracking, "unet-0.001-0", from_the_key) is None
    again = open_mirror()
    _send(again, 2000)
    assert again.run_id == first.run_id
    assert _run(client, again).info.lifecycle_stage == "active"
    assert len(_points(client, again, "train_loss")) == 2


def test_a_run_is_found_and_left_as_it_is(client: "MlflowClient", open_mirror: Open, tracking: Tracking) -> None:
    key = "5e" * 32
    assert Mirror.find(tracking, "unet-0.001-0", key) is None
    first = open_mirror()
    first.end("FINISHED")
    found = Mirror.find(tracking, "unet-0.001-0", key)
    assert found is not None
    assert (found.run_id, found.name) == (first.run_id, "unet-0.001-0")
    found.log_values({"val_mean_iou_best": 0.8}, 1)
    assert _run(client, found).data.metrics == {"val_mean_iou_best": 0.8}
    assert _run(client, found).info.status == "FINISHED"
    assert Mirror.find(tracking, "unet-0.001-0", "00" * 32) is None


def test_looking_for_a_run_makes_no_store(bare_project: Path, tracking: Tracking) -> None:
    assert Mirror.find(tracking, "unet-0.001-0", "00" * 32) is None
    assert list(bare_project.iterdir()) == []


def test_nan_and_infinity_are_left_out_and_said(client: "MlflowClient", open_mirror: Open) -> None:
    mirror = open_mirror()
    mirror.log_epoch(1, {"objective": math.nan, "train_loss": 0.5}, 1)
    mirror.log_epoch(2, {"objective": math.inf}, 2)
    mirror.log_values({"gap": -math.inf}, 3)
    open_mirror().log_epoch(2, {"objective": math.inf}, 2)
    run = _run(client, mirror)
    assert run.data.metrics == {"train_loss": 0.5}
    assert run.data.tags["pipeline.nonfinite_metrics"] == "objective at epoch 1; objective at epoch 2; gap"


def test_what_is_longer_than_mlflow_keeps_is_cut_and_said(client: "MlflowClient", open_mirror: Open) -> None:
    mirror = open_mirror(parameters={"model": {"note": "x" * 6_001}, "exact": "y" * 6_000}, tags={"a": "z" * 8_001})
    mirror.set_tags({"b": "z" * 8_001})
    run = _run(client, mirror)
    assert len(run.data.params["model.note"]) == len(run.data.params["exact"]) == 6_000
    assert run.data.params["model.note"].endswith("… (cut)")
    assert len(run.data.tags["a"]) == 8_000
    assert run.data.tags["pipeline.truncated"] == "parameter model.note; tag a; tag b"


@pytest.mark.parametrize("status", ["FINISHED", "FAILED", "KILLED"])
def test_how_a_run_ends(status: End, client: "MlflowClient", open_mirror: Open) -> None:
    mirror = open_mirror()
    mirror.end(status)
    assert _run(client, mirror).info.status == status
    assert _run(client, mirror).info.end_time is not None
    assert _run(client, open_mirror()).info.status == "RUNNING"


def test_folders_are_artifacts(client: "MlflowClient", open_mirror: Open, tmp_path: Path) -> None:
    folder = tmp_path / "unet-0.001-0"
    (folder / "sub").mkdir(parents=True)
    (folder / "run.json").write_text("{}")
    (folder / "sub" / "x.txt").write_text("x")
    mirror = open_mirror()
    for _ in range(2):
        mirror.log_folder(folder, "run")
    assert not mirror.quiet
    run = _run(client, mirror).info.run_id
    names = {under: [item.path for item in client.list_artifacts(run, under)] for under in (None, "run")}
    assert names == {None: ["run"], "run": ["run/run.json", "run/sub"]}


def _use_all(mirror: Mirror, folder: Path) -> None:
    mirror.log_epoch(1, {"train_loss": 0.5}, 1)
    mirror.log_values({"gap": 0.5}, 1)
    mirror.set_tags({"a": "b"})
    mirror.log_folder(folder, "run")
    mirror.end("FAILED")


@pytest.mark.timeout(20)
def test_a_server_that_is_down_costs_one_warning(
    bare_project: Path,
    open_mirror: Open,
    closed_port: int,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://me:secret@127.0.0.1:{closed_port}")
    mirror = open_mirror()
    _use_all(mirror, bare_project)
    assert (mirror.quiet, mirror.run_id) == (True, None)
    (record,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert record.name == "pipeline.tracking"
    text = record.getMessage()
    assert f"Run unet-0.001-0: MLflow at http://127.0.0.1:{closed_port} fails" in text
    assert "secret" not in text
    assert "\n" not in text


@pytest.mark.timeout(20)
def test_a_store_that_breaks_in_between_costs_one_warning(
    project: Path, open_mirror: Open, caplog: pytest.LogCaptureFixture
) -> None:
    mirror = open_mirror()
    mirror.log_epoch(1, {"train_loss": 0.9}, 1)
    (project / "mlflow.db").write_bytes(b"no database any more" * 1000)
    _use_all(mirror, project)
    mirror.log_epoch(2, {"train_loss": 0.8}, 2)
    _use_all(open_mirror(name="unet-0.01-0"), project)
    first, second = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert "Run unet-0.001-0" in first
    assert "Run unet-0.01-0" in second


class TellsToEnd(dict[str, Any]):
    """Values at whose reading, in the middle of what is sent, the process is told to end."""

    def items(self) -> Any:
        os.kill(os.getpid(), signal.SIGTERM)
        return super().items()


def _train_until_told(tracking: Tracking, beginning: bool) -> None:
    defer_signals()
    parameters = TellsToEnd(sent="whole") if beginning else {}
    with log_in_background(tracking, name="unet-0.001-0", key="ab" * 32, parameters=parameters, tags={}) as mirror:
        mirror.set_tags(TellsToEnd(sent="whole"))
        for _ in range(600):  # the background thread sends the signal
            time.sleep(0.1)
            check_signals()
        raise AssertionError("a process that received a signal continued")


@pytest.mark.parametrize("beginning", [True, False])
def test_a_run_that_is_stopped_is_killed_and_what_was_being_sent_is_whole(
    client: "MlflowClient", tracking: Tracking, beginning: bool
) -> None:
    process = multiprocessing.get_context("spawn").Process(target=_train_until_told, args=(tracking, beginning))
    process.start()
    process.join()
    assert process.exitcode == 128 + signal.SIGTERM
    experiment = client.get_experiment_by_name(tracking.experiment)
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "KILLED"
    assert (run.data.params if beginning else run.data.tags)["sent"] == "whole"


def test_a_store_that_comes_back_gets_what_it_missed(
    project: Path,
    open_mirror: Open,
    tracking: Tracking,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("pipeline.tracking.mirror.RETRY_SECONDS", 0.0)
    store = project / "mlflow.db"
    content = store.read_bytes()
    store.write_bytes(b"no database" * 1000)
    mirror, began = open_mirror(), time.time()
    mirror.log_epoch(1, {"train_loss": 0.9}, 1)
    assert mirror.quiet
    store.write_bytes(content)
    mirror.log_epoch(2, {"train_loss": 0.8}, 2)
    assert not mirror.quiet
    content = store.read_bytes()
    store.write_bytes(b"no database" * 1000)
    mirror.log_epoch(3, {"train_loss": 0.7}, 3)
    store.write_bytes(content)
    mirror.end("FINISHED")
    client = open_client(tracking_uri(tracking))
    assert _run(client, mirror).info.status == "FINISHED"
    assert _run(client, mirror).info.start_time <= 1000 * began  # not when the store came back
    assert _run(client, mirror).data.params == {"variant": "unet", "model.depth": "4"}
    assert _points(client, mirror, "train_loss") == [(1, 1, 0.9), (2, 2, 0.8), (3, 3, 0.7)]
    assert len([record for record in caplog.records if record.levelno >= logging.WARNING]) == 1


def test_a_refused_file_keeps_no_run_from_ending(client: "MlflowClient", open_mirror: Open, tmp_path: Path) -> None:
    mirror = open_mirror()
    mirror.log_folder(tmp_path / "nowhere", "run")
    mirror.end("FINISHED")
    assert _run(client, open_mirror(parameters={})).info.end_time is not None


def test_names_that_mlflow_refuses_are_replaced_and_said(client: "MlflowClient", open_mirror: Open) -> None:
    mirror = open_mirror(parameters={"a@b": 1})
    mirror.log_epoch(1, {"val_iou/road (wet)": 0.5}, 1)
    mirror.log_values({"gap#": 0.1}, 1)
    run = _run(client, mirror)
    assert run.data.metrics == {"val_iou/road _wet_": 0.5, "gap_": 0.1}
    assert run.data.params == {"a_b": "1"}
    assert run.data.tags["pipeline.renamed"] == "a@b as a_b; val_iou/road (wet) as val_iou/road _wet_; gap# as gap_"


def test_a_warning_about_a_store_that_is_down_names_the_run_and_not_its_key(
    bare_project: Path, closed_port: int, caplog: pytest.LogCaptureFixture
) -> None:
    down = Tracking(uri=f"http://127.0.0.1:{closed_port}", experiment="learning-report")
    assert Mirror.find(down, "unet-0.001-0", "5e" * 32) is None
    (warning,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert warning.startswith("Run unet-0.001-0: MLflow at ")
    assert "5e5e" not in warning
