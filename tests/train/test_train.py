"""Training a cell: files, determinism, logging to MLflow, and diverged or stopped runs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from mlflow import MlflowClient
from mlflow.entities import Run
from safetensors.torch import load_file

from pipeline.artifacts.run_folder import RunFolder, RunRecord
from pipeline.errors import PipelineError
from pipeline.params import Params
from pipeline.params.file import read_params
from pipeline.params.flatten import flatten_parameters
from pipeline.runtime.progress import EpochProgress
from pipeline.tracking.mlflow_limits import flatten
from pipeline.train.train_cell import train_and_log, train_cell
from tests.conftest import write_params

RUN = "unet-0.01-0"


def train(root: Path, changes: dict[str, Any] | None = None, variant: str = "unet", seed: int = 0) -> RunRecord:
    params = create_params(root, changes or {})
    return train_cell(params.cell(variant, 0.01, seed))


def create_params(root: Path, changes: dict[str, Any]) -> Params:
    return read_params(write_params(root, changes))


def load_mlflow_runs(root: Path) -> list[Run]:
    client = MlflowClient(f"sqlite:///{root / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("learning-report")
    assert experiment is not None
    return list(client.search_runs([experiment.experiment_id]))


def test_run_folder_has_all_files(project: Path) -> None:
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
        assert showcase["masks"].shape == (2, 32, 32)


def test_training_is_deterministic_for_a_seed(project: Path) -> None:
    train(project)
    folder = project / "runs" / RUN
    first = {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "timing.json"}
    shutil.rmtree(folder)
    train(project)
    assert first == {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "timing.json"}
    train(project, seed=1)
    assert (project / "runs/unet-0.01-1/model.safetensors").read_bytes() != first["model.safetensors"]


def test_learning_rate_warms_up_and_anneals(project: Path) -> None:
    train(project, {"train": {"epochs": 4}})
    learning_rates = pd.read_csv(project / "runs" / RUN / "history.csv")["learning_rate"]
    assert learning_rates.max() == pytest.approx(0.01, rel=0.25)
    assert learning_rates.iloc[-1] < 1e-4


def test_max_train_images_limits_the_training_set(project: Path) -> None:
    train(project, {"variants": {"few": {"data": {"max_train_images": 4}}}}, variant="few")
    with np.load(project / "runs/few-0.01-0/image_losses.npz") as losses:
        assert losses["train"].shape == (2, 4)
        assert losses["validation"].shape == (2, 6)


def test_run_key_depends_on_parameters_that_affect_results(project: Path) -> None:
    key = train(project).key
    assert train(project).key == key
    assert train(project, {"train": {"num_threads": 2}}).key != key
    assert train(project, {"train": {"optimizer": {"weight_decay": 0.02}}}).key != key
    assert train(project, {"report": {"title": "Another"}}).key == key


def test_epochs_are_reported(project: Path) -> None:
    reports: list[EpochProgress] = []
    params = create_params(project, {})
    train_and_log(params, params.cell("unet", 0.01, 0), listen=reports.append)
    assert [(report.run, report.epoch, report.epochs) for report in reports] == [(RUN, 1, 2), (RUN, 2, 2)]
    assert all(report.images_per_second > 0 for report in reports)


def test_train_logs_the_run_to_mlflow(project: Path) -> None:
    params = create_params(project, {})
    record = train_and_log(params, params.cell("unet", 0.01, 0))
    (run,) = load_mlflow_runs(project)
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


def test_diverged_run_is_recorded(project: Path) -> None:
    params = create_params(project, {"train": {"epochs": 6, "precision": "float32"}})
    record = train_and_log(params, params.cell("unet", 1e30, 0))
    assert record.status == "diverged"
    assert record.diverged_epoch == record.epochs + 1 < 6
    (run,) = load_mlflow_runs(project)
    assert run.info.status == "FINISHED"
    assert run.data.tags["pipeline.status"] == "diverged"
    assert np.isfinite(list(run.data.metrics.values())).all()


@pytest.mark.parametrize(("stop", "status"), [(KeyboardInterrupt, "KILLED"), (RuntimeError, "FAILED")])
def test_stopped_run_leaves_no_folder_and_sets_the_status_in_mlflow(
    project: Path, stop: type[BaseException], status: str
) -> None:
    def listen(report: EpochProgress) -> None:
        raise stop

    params = create_params(project, {})
    with pytest.raises(stop):
        train_and_log(params, params.cell("unet", 0.01, 0), listen=listen)
    assert not list(project.glob("runs/*"))
    (run,) = load_mlflow_runs(project)
    assert run.info.status == status


def test_more_images_than_available_are_refused(project: Path) -> None:
    params = create_params(
        project, {"data": {"samples": {"train": 100}}, "variants": {"all": {"data": {"max_train_images": 90}}}}
    )
    with pytest.raises(PipelineError, match=r"90 is more than the 12 images"):
        train_cell(params.cell("all", 0.01, 0))


WEIGHTS = {
    "inverse": {"class_weights": "inverse"},
    "median_frequency": {"class_weights": "median_frequency", "loss": "focal"},
    "by name": {"class_weights": {"background": 1.0, "animal": 2.0, "border": 5.0}, "loss": "cross_entropy_dice"},
    "boundary": {"boundary_weight": {"w0": 10.0, "sigma": 5.0}},
}


@pytest.mark.parametrize("weights", WEIGHTS.values(), ids=WEIGHTS.keys())
def test_weights_change_the_training_and_are_logged(project: Path, weights: dict[str, Any]) -> None:
    plain = train(project, {"train": {"loss": weights.get("loss", "cross_entropy")}})
    params = create_params(project, {"train": weights})
    record = train_and_log(params, params.cell("unet", 0.01, 0))
    assert record.key != plain.key
    history = pd.read_csv(project / "runs" / RUN / "history.csv")
    assert np.isfinite(history[["train_loss", "val_loss", "objective"]]).all(axis=None)
    (run,) = load_mlflow_runs(project)
    logged = {name: value for name, value in run.data.params.items() if name.startswith(("train.class", "train.bound"))}
    expected = flatten({"train": {"class_weights": None, "boundary_weight": None, **weights}})
    assert logged == {name: value for name, value in expected.items() if name != "train.loss"}
    reported = dict(flatten_parameters(record.cell))
    assert {name: reported[name] for name in logged} == {
        name: "null" if value == "None" else value for name, value in logged.items()
    }


def test_weights_of_equal_classes_train_the_same_network(project: Path) -> None:
    losses = []
    for weights in (None, {"background": 2.0, "animal": 2.0, "border": 2.0}):
        train(project, {"train": {"class_weights": weights, "precision": "float32"}})
        losses.append(pd.read_csv(project / "runs" / RUN / "history.csv")["val_loss"])
    np.testing.assert_allclose(*losses, rtol=1e-3)


def test_weights_of_unknown_classes_are_refused_before_training(project: Path) -> None:
    with pytest.raises(PipelineError, match=r"train\.class_weights: no weight for animal, border; add it"):
        train(project, {"train": {"class_weights": {"background": 1.0}}})
    assert not list(project.glob("runs/*"))


def test_speed_counts_only_trained_images(project: Path) -> None:
    train(project, {"train": {"batch_size": 5}})  # 12 images: two full batches
    timing = json.loads((project / "runs" / RUN / "timing.json").read_text())
    assert [epoch["images"] for epoch in timing["epochs"]] == [10, 10]
    assert timing["images_per_second"] == pytest.approx(20 / timing["training_seconds"])


def test_accumulated_batches_take_the_step_of_one_large_batch(project: Path) -> None:
    plain = {
        "precision": "float32", "epochs": 1, "loss": "cross_entropy", "augmentation": None, "ema_decay": 0.0,
        "optimizer": {"name": "sgd", "momentum": 0.0, "nesterov": False, "weight_decay": 0.0},
    }  # fmt: skip
    weights = {}
    for batch_size, accumulated in ((12, 1), (4, 3), (4, 100)):
        settings = {**plain, "batch_size": batch_size, "gradient_accumulation_steps": accumulated}
        train(project, {"model": {"norm": "group"}, "train": settings})
        weights[batch_size, accumulated] = load_file(project / "runs" / RUN / "model.safetensors")
    for name, weight in weights[12, 1].items():
        torch.testing.assert_close(weights[4, 3][name], weight, atol=1e-6, rtol=1e-4)
        assert torch.equal(weights[4, 100][name], weights[4, 3][name])  # an epoch has three batches only


def test_clipped_step_has_at_most_the_norm(project: Path) -> None:
    plain = {
        "epochs": 1, "batch_size": 12, "augmentation": None, "ema_decay": 0.0, "lr_scheduler": {"name": "constant"},
        "optimizer": {"name": "sgd", "momentum": 0.0, "nesterov": False, "weight_decay": 0.0},
    }  # fmt: skip
    weights = []
    for norm in (1e-9, 1e-3):
        settings = {"train": {**plain, "max_grad_norm": norm}}
        train(project, {"model": {"norm": "group"}, "variants": {"unet": settings}})
        weights.append(load_file(project / "runs" / RUN / "model.safetensors"))
    moved = [(weights[1][name].double() - weights[0][name].double()).square().sum() for name in weights[0]]
    assert float(sum(moved)) ** 0.5 == pytest.approx(0.01 * 1e-3, rel=0.05)  # learning rate times norm


def test_bfloat16_loss_is_close_to_float32(project: Path) -> None:
    losses = {}
    for precision in ("float32", "bfloat16"):
        record = train(project, {"train": {"precision": precision, "epochs": 4}})
        assert record.precision == precision
        losses[precision] = pd.read_csv(project / "runs" / RUN / "history.csv")["train_loss"].iloc[-1]
    assert losses["bfloat16"] == pytest.approx(losses["float32"], rel=0.1)
    assert losses["bfloat16"] != losses["float32"]
