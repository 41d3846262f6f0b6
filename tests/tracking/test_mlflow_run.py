"""Uploads of a run: idempotent, replaced if its numbers change, and within MLflow's limits."""

import dataclasses
import math
import multiprocessing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pipeline.artifacts.project import Project
from pipeline.params import Tracking
from pipeline.tracking.mlflow_limits import MAX_TAG_LENGTH
from pipeline.tracking.mlflow_run import MlflowRun, upload_lock
from pipeline.tracking.run_content import DataSummary, RunContent, Status
from pipeline.tracking.store import get_experiment_id, get_tracking_uri, open_client
from pipeline.tracking.tags import USER
from tests.conftest import StartProcess
from tests.tracking.conftest import KEY, Upload, create_epochs, upload_content

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

EPOCHS = ({"train_loss": 0.9, "val_iou/pet": 0.3}, {"train_loss": 0.7, "val_iou/pet": 0.5})


@pytest.fixture
def client(project: Path, tracking: Tracking) -> "MlflowClient":
    return open_client(get_tracking_uri(tracking))


def load_run(client: "MlflowClient", run: MlflowRun) -> "Run":
    return client.get_run(run.run_id)


def load_points(client: "MlflowClient", run: MlflowRun, name: str) -> list[tuple[int, int, float]]:
    history = client.get_metric_history(run.run_id, name)
    return [(point.step, point.timestamp, point.value) for point in history]


def test_upload_stores_all_content(client: "MlflowClient", upload: Upload) -> None:
    data = DataSummary("pets", "image_mask_folder", "f0" * 32, "32", ({"train": 12},))
    run = upload(
        tags={"a": "b"}, epochs=create_epochs(*EPOCHS), metrics={"gap": 0.2}, began_ms=900, ended_ms=1003, data=data
    )
    run_data = load_run(client, run)
    assert (run_data.info.run_name, run_data.info.status) == ("unet-0.001-0", "FINISHED")
    assert (run_data.info.start_time, run_data.info.end_time) == (900, 1003)
    assert run_data.data.params == {"variant": "unet", "model.depth": "4"}
    assert run_data.data.tags["a"] == "b"
    assert run_data.data.metrics == {"train_loss": 0.7, "val_iou/pet": 0.5, "gap": 0.2}
    assert load_points(client, run, "train_loss") == [(1, 1001, 0.9), (2, 1002, 0.7)]
    assert load_points(client, run, "gap") == [(0, 1003, 0.2)]
    contexts = {item.tags[0].value: item.dataset.name for item in run_data.inputs.dataset_inputs}
    assert contexts == {"train": "pets (train)", "validation": "pets (validation)"}


def test_run_killed_after_its_creation_has_its_tags(client: "MlflowClient", tracking: Tracking) -> None:
    content = RunContent("unet-0.01-0", "1" * 64, "RUNNING", tags={USER: "ada", "long": "x" * 9000})
    experiment = get_experiment_id(client, get_tracking_uri(tracking), tracking.experiment)
    tags = load_run(client, MlflowRun.open(client, experiment, content)).data.tags
    assert tags[USER] == "ada"
    assert len(tags["long"]) == MAX_TAG_LENGTH


def test_repeated_upload_stores_each_point_once(client: "MlflowClient", upload: Upload) -> None:
    first = upload(status="KILLED", epochs=create_epochs(*EPOCHS), metrics={"gap": 0.2}, ended_ms=1003)
    for ended_ms in (1000, 2000):
        upload(epochs=create_epochs(*EPOCHS, ended_ms=ended_ms), metrics={"gap": 0.2}, ended_ms=ended_ms + 3)
    reuploaded = upload(
        parameters={"variant": "other words", "added": 1},
        epochs=create_epochs(*EPOCHS, {"train_loss": 0.6}, ended_ms=3000),
    )
    assert reuploaded.run_id == first.run_id
    assert (reuploaded.num_points, reuploaded.is_new) == (1, False)
    assert load_points(client, reuploaded, "train_loss") == [(1, 1001, 0.9), (2, 1002, 0.7), (3, 3003, 0.6)]
    assert load_points(client, reuploaded, "gap") == [(0, 1003, 0.2)]
    assert load_run(client, reuploaded).data.params == {"variant": "unet", "model.depth": "4", "added": "1"}


def test_upload_without_times_uses_the_start_time(client: "MlflowClient", upload: Upload) -> None:
    unknown = tuple(dataclasses.replace(epoch, ended_ms=None) for epoch in create_epochs(*EPOCHS))
    run = upload(epochs=unknown, metrics={"gap": 0.2})
    started = load_run(client, run).info.start_time
    assert {time for name in ("train_loss", "gap") for _, time, _ in load_points(client, run, name)} == {started}
    assert load_run(client, run).info.end_time == started


def test_upload_with_other_metrics_replaces_the_run(client: "MlflowClient", upload: Upload) -> None:
    first = upload(tags={"pipeline.stage": "train"}, epochs=create_epochs(*EPOCHS), metrics={"gap": 0.2})
    other = create_epochs(EPOCHS[0], {"train_loss": 0.71, "val_iou/pet": 0.5}, ended_ms=2000)
    second = upload(epochs=other)
    upload(epochs=other)
    run = load_run(client, second)
    assert second.run_id != first.run_id
    assert (run.info.run_name, run.info.status) == ("unet-0.001-0", "FINISHED")
    assert run.data.params == {"variant": "unet", "model.depth": "4"}
    assert run.data.tags["pipeline.stage"] == "train"
    assert run.data.tags["pipeline.replaces"] == first.run_id
    assert load_points(client, second, "train_loss") == [(1, 1001, 0.9), (2, 2002, 0.71)]
    assert "gap" not in run.data.metrics  # it belongs to the first training
    old = load_run(client, first)
    assert (old.info.lifecycle_stage, old.data.tags["pipeline.replaced_by"]) == ("deleted", second.run_id)
    assert upload().run_id == second.run_id
    assert len(client.search_runs([run.info.experiment_id])) == 1


def test_upload_updates_a_changed_metric(client: "MlflowClient", upload: Upload) -> None:
    for value in (0.2, 0.1):
        run = upload(metrics={"gap": value}, ended_ms=1000)
    assert load_run(client, run).data.metrics == {"gap": 0.1}


def test_upload_restores_a_deleted_run(client: "MlflowClient", upload: Upload) -> None:
    first = upload(epochs=create_epochs(*EPOCHS))
    client.delete_run(first.run_id)
    experiment = load_run(client, first).info.experiment_id
    assert MlflowRun.find(client, experiment, KEY) is None
    reuploaded = upload(epochs=create_epochs(*EPOCHS))
    assert reuploaded.run_id == first.run_id
    assert load_run(client, reuploaded).info.lifecycle_stage == "active"
    assert len(load_points(client, reuploaded, "train_loss")) == 2
    run_data = MlflowRun.find(client, experiment, KEY)
    assert run_data is not None
    assert run_data.run_id == first.run_id


def test_upload_omits_and_tags_nan_and_infinity(client: "MlflowClient", upload: Upload) -> None:
    content = {
        "epochs": create_epochs({"objective": math.nan, "train_loss": 0.5}, {"objective": math.inf}),
        "metrics": {"gap": -math.inf},
    }
    for _ in range(2):
        run = load_run(client, upload(**content))
    assert run.data.metrics == {"train_loss": 0.5}
    assert run.data.tags["pipeline.nonfinite_metrics"] == "objective at epoch 1; objective at epoch 2; gap"


def test_upload_truncates_and_tags_long_values(client: "MlflowClient", upload: Upload) -> None:
    parameters = {"model": {"note": "x" * 6_001}, "exact": "y" * 6_000}
    run = upload(parameters=parameters, tags={"a": "z" * 8_001})
    upload(parameters=parameters, tags={"b": "z" * 8_001})
    run_data = load_run(client, run)
    assert len(run_data.data.params["model.note"]) == len(run_data.data.params["exact"]) == 6_000
    assert run_data.data.params["model.note"].endswith("(truncated)")
    assert len(run_data.data.tags["a"]) == 8_000
    assert run_data.data.tags["pipeline.truncated"] == "parameter model.note; tag a; tag b"


def test_upload_replaces_and_tags_invalid_names(client: "MlflowClient", upload: Upload) -> None:
    run = upload(parameters={"a@b": 1}, epochs=create_epochs({"val_iou/road (wet)": 0.5}), metrics={"gap#": 0.1})
    run_data = load_run(client, run)
    assert run_data.data.metrics == {"val_iou/road _wet_": 0.5, "gap_": 0.1}
    assert run_data.data.params == {"a_b": "1"}
    assert (
        run_data.data.tags["pipeline.renamed"] == "a@b as a_b; val_iou/road (wet) as val_iou/road _wet_; gap# as gap_"
    )


@pytest.mark.parametrize("status", ["FINISHED", "FAILED", "KILLED"])
def test_upload_sets_the_status(status: Status, client: "MlflowClient", upload: Upload) -> None:
    assert load_run(client, upload(status="RUNNING")).info.status == "RUNNING"
    run = load_run(client, upload(status=status, ended_ms=7))
    assert (run.info.status, run.info.end_time) == (status, 7)
    assert load_run(client, upload(status="RUNNING")).info.status == "RUNNING"


def test_upload_sends_files_only_once(client: "MlflowClient", upload: Upload, tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir(parents=True)
    files = {"run.json": tmp_path / "run.json", "sub/x.txt": tmp_path / "sub/x.txt"}
    for path in files.values():
        path.write_text("{}")
    assert [upload(files={"run": files}).num_folders for _ in range(2)] == [1, 0]
    run = upload().run_id
    names = {path: [item.path for item in client.list_artifacts(run, path)] for path in (None, "run", "run/sub")}
    assert names == {None: ["run"], "run": ["run/run.json", "run/sub"], "run/sub": ["run/sub/x.txt"]}
    files["run.json"].write_text("[]")  # of the same size
    assert upload(files={"run": files}).num_folders == 1


def test_upload_with_a_missing_file_sets_the_status(client: "MlflowClient", upload: Upload, tmp_path: Path) -> None:
    run = upload(status="RUNNING")
    with pytest.raises(OSError, match="nowhere"):
        upload(files={"run": {"a": tmp_path / "nowhere"}})
    assert load_run(client, run).info.status == "FINISHED"


def _upload_locked(tracking: Tracking, start: "multiprocessing.synchronize.Barrier") -> None:
    open_client(get_tracking_uri(tracking))  # imports MLflow
    start.wait()
    with upload_lock(Project()):
        upload_content(tracking)


def test_upload_lock_lets_processes_create_one_run_per_key(
    client: "MlflowClient", tracking: Tracking, start_process: StartProcess
) -> None:
    start = multiprocessing.get_context("forkserver").Barrier(3)
    processes = [start_process(_upload_locked, tracking, start) for _ in range(3)]
    for process in processes:
        process.join()
    experiment = client.get_experiment_by_name(tracking.experiment)
    assert experiment is not None
    assert len(client.search_runs([experiment.experiment_id])) == 1
