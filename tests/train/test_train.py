"""A cell trained: its files, its bits, its place in MLflow, and what a diverged or a stopped one leaves."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from pipeline.artifacts.run_folder import RunFolder, RunRecord
from pipeline.errors import PipelineError
from pipeline.params import Params
from pipeline.params.file import read_params
from pipeline.runtime.progress import EpochProgress
from pipeline.train.train_cell import train_and_log, train_cell
from tests.conftest import write_params

RUN = "unet-0.01-0"


def train(root: Path, changes: dict[str, Any] | None = None, variant: str = "unet", seed: int = 0) -> RunRecord:
    params = changed(root, changes or {})
    return train_cell(params.cell(variant, 0.01, seed))


def changed(root: Path, changes: dict[str, Any]) -> Params:
    return read_params(write_params(root, changes))


def mlflow_runs(root: Path) -> list[Run]:
    client = MlflowClient(f"sqlite:///{root / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("learning-report")
    assert experiment is not None
    return list(client.search_runs([experiment.experiment_id]))


def test_a_run_folder_holds_what_the_contract_says(project: Path) -> None:
    record = train(project)
    folder = project / "runs" / RUN
    assert {path.name for path in folder.iterdir()} == {
        "history.csv", "image_losses.npz", "model.safetensors", "run.json", "showcase.npz", "timing.json",
    }  # fmt: skip
    assert RunFolder(folder).record == record
    assert (record.status, record.epochs) == ("finished", 2)

    history = pd.read_csv(folder / "history.csv")
    assert list(history["epoch"]) == [1, 2]
    assert record.best_epoch == history["epoch"][history["val_loss"].idxmin()]
    with np.load(folder / "image_losses.npz") as losses:
        assert losses["train"].shape == losses["validation"].shape == (2, 6)
        weighted = (losses["validation"] * losses["validation_pixels"]).sum(axis=1) / losses["validation_pixels"].sum()
        np.testing.assert_allclose(weighted, history["val_loss"], rtol=1e-5)
    with np.load(folder / "showcase.npz") as showcase:
        assert showcase["masks"].shape == (2, 1, 32, 32)


def test_the_same_cell_gives_the_same_bytes_and_another_seed_others(project: Path) -> None:
    train(project)
    folder = project / "runs" / RUN
    first = {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "timing.json"}
    shutil.rmtree(folder)
    train(project)
    assert first == {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "timing.json"}
    train(project, seed=1)
    assert (project / "runs/unet-0.01-1/model.safetensors").read_bytes() != first["model.safetensors"]


def test_the_rate_warms_up_and_anneals(project: Path) -> None:
    train(project, {"train": {"epochs": 4}})
    rates = pd.read_csv(project / "runs" / RUN / "history.csv")["learning_rate"]
    assert rates.max() == pytest.approx(0.01, rel=0.25)
    assert rates.iloc[-1] < 1e-4


def test_a_smaller_training_set_is_used_and_compared(project: Path) -> None:
    train(project, {"variants": {"few": {"data": {"max_train_images": 4}}}}, variant="few")
    with np.load(project / "runs/few-0.01-0/image_losses.npz") as losses:
        assert losses["train"].shape == (2, 4)
        assert losses["validation"].shape == (2, 6)


def test_the_key_names_all_that_decides_the_numbers(project: Path) -> None:
    key = train(project).key
    assert train(project).key == key
    assert train(project, {"train": {"num_threads": 2}}).key != key
    assert train(project, {"train": {"optimizer": {"weight_decay": 0.02}}}).key != key
    assert train(project, {"report": {"title": "Another"}}).key == key


def test_epochs_are_reported_as_they_end(project: Path) -> None:
    seen: list[EpochProgress] = []
    params = changed(project, {})
    train_cell(params.cell("unet", 0.01, 0), listen=seen.append)
    assert [(report.run, report.epoch, report.epochs) for report in seen] == [(RUN, 1, 2), (RUN, 2, 2)]
    assert all(report.images_per_second > 0 for report in seen)


def test_a_run_in_mlflow(project: Path) -> None:
    params = changed(project, {})
    record = train_and_log(params, params.cell("unet", 0.01, 0))
    (run,) = mlflow_runs(project)
    assert (run.info.run_name, run.info.status) == (RUN, "FINISHED")
    assert run.data.tags["pipeline.run_key"] == record.key
    assert run.data.tags["pipeline.data_fingerprint"] == record.data_fingerprint
    assert run.data.tags["pipeline.status"] == "finished"
    assert run.data.params["learning_rate"] == "0.01"
    assert run.data.params["model.skip_connections"] == "concat"
    client = MlflowClient(f"sqlite:///{project / 'mlflow.db'}")
    points = client.get_metric_history(run.info.run_id, "loss/val")
    history = pd.read_csv(project / "runs" / RUN / "history.csv")
    assert [point.step for point in points] == [1, 2]
    np.testing.assert_allclose([point.value for point in points], history["val_loss"])
    ends = [epoch["ended_ms"] for epoch in json.loads((project / "runs" / RUN / "timing.json").read_text())["epochs"]]
    assert [point.timestamp for point in points] == ends
    assert "run/model.safetensors" in {item.path for item in client.list_artifacts(run.info.run_id, "run")}


def test_a_diverged_run_is_a_result(project: Path) -> None:
    params = changed(project, {"train": {"epochs": 6, "precision": "float32"}})
    record = train_and_log(params, params.cell("unet", 1e30, 0))
    assert record.status == "diverged"
    assert record.diverged_epoch == record.epochs + 1 < 6
    (run,) = mlflow_runs(project)
    assert run.info.status == "FINISHED"
    assert run.data.tags["pipeline.status"] == "diverged"
    assert np.isfinite(list(run.data.metrics.values())).all()


@pytest.mark.parametrize(("stop", "status"), [(KeyboardInterrupt, "KILLED"), (RuntimeError, "FAILED")])
def test_a_stopped_run_leaves_no_folder_and_says_so_in_mlflow(
    project: Path, stop: type[BaseException], status: str
) -> None:
    def listen(report: EpochProgress) -> None:
        raise stop

    params = changed(project, {})
    with pytest.raises(stop):
        train_and_log(params, params.cell("unet", 0.01, 0), listen=listen)
    assert not list(project.glob("runs/*"))
    (run,) = mlflow_runs(project)
    assert run.info.status == status


def test_more_images_than_there_are_is_refused(project: Path) -> None:
    params = changed(
        project, {"data": {"samples": {"train": 100}}, "variants": {"all": {"data": {"max_train_images": 90}}}}
    )
    with pytest.raises(PipelineError, match=r"90 is more than the 12 images"):
        train_cell(params.cell("all", 0.01, 0))


def test_the_speed_counts_only_images_that_were_trained_on(project: Path) -> None:
    train(project, {"train": {"batch_size": 5}})  # 12 images: two full batches
    timing = json.loads((project / "runs" / RUN / "timing.json").read_text())
    assert [epoch["images"] for epoch in timing["epochs"]] == [10, 10]
    assert timing["images_per_second"] == pytest.approx(20 / timing["training_seconds"])


def test_bfloat16_learns_what_float32_learns(project: Path) -> None:
    losses = {}
    for precision in ("float32", "bfloat16"):
        record = train(project, {"train": {"precision": precision, "epochs": 4}})
        assert record.precision == precision
        losses[precision] = pd.read_csv(project / "runs" / RUN / "history.csv")["train_loss"].iloc[-1]
    assert losses["bfloat16"] == pytest.approx(losses["float32"], rel=0.1)
    assert losses["bfloat16"] != losses["float32"]
