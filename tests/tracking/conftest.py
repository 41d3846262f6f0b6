"""Project folders with an MLflow store, which is copied because creating one takes seconds, and runs to upload."""

import csv
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.artifacts.format import FORMAT
from pipeline.artifacts.project import RUNS
from pipeline.artifacts.run_folder import EpochTiming, RunFolder, RunRecord, RunTiming
from pipeline.atomic_io import to_json
from pipeline.params import Tracking
from pipeline.runtime.training_state import TrainingState
from pipeline.tracking.mlflow_run import MlflowRun
from pipeline.tracking.run_content import EpochMetrics, RunContent
from pipeline.tracking.store import get_experiment_id, get_tracking_uri, open_client

KEY = "5e" * 32

Upload = Callable[..., MlflowRun]


def create_epochs(*values: dict[str, float], ended_ms: int = 1000) -> tuple[EpochMetrics, ...]:
    """Create epochs with these metrics, which end 1 ms after each other."""
    return tuple(EpochMetrics(number, metrics, ended_ms + number) for number, metrics in enumerate(values, start=1))


def upload_content(tracking: Tracking, **changes: Any) -> MlflowRun:
    """Upload a finished run with some of its content changed; the run is always the same."""
    parameters = {"variant": "unet", "model": {"depth": 4}}
    content = RunContent(
        **{"name": "unet-0.001-0", "key": KEY, "status": "FINISHED", "parameters": parameters, **changes}
    )
    uri = get_tracking_uri(tracking)
    client = open_client(uri)
    run = MlflowRun.open(client, get_experiment_id(client, uri, tracking.experiment), content)
    run.upload(content)
    return run


def create_training_state(number: int, num_epochs: int, num_classes: int = 0, **changes: Any) -> TrainingState:
    """Create the state of training `number` after some epochs."""
    rows = [
        {
            "epoch": epoch,
            "learning_rate": 0.001,
            "train_loss": number + 1 / epoch,
            "val_loss": number + 2 / epoch,
            **{f"val_iou_{name}": 1 / (name + epoch + 1) for name in range(num_classes)},
        }
        for epoch in range(1, num_epochs + 1)
    ]
    return TrainingState(
        **{
            "run": f"unet-0.001-{number}",
            "key": f"{number:064x}",
            "cell": {"variant": "unet", "learning_rate": 0.001, "seed": number, "max_train_images": None},
            "precision": "float32",
            "data_fingerprint": "f0" * 32,
            "began_ms": 500,
            "history": tuple(rows),
            "ended_ms": tuple(1000 * epoch for epoch in range(1, num_epochs + 1)),
            **changes,
        }
    )


def write_run_folder(state: TrainingState, root: Path) -> None:
    """Write the files of a finished training that an upload reads."""
    folder = root / RUNS / state.run
    folder.mkdir(parents=True, exist_ok=True)
    num_epochs = len(state.history)
    record = RunRecord(
        FORMAT, state.run, state.key, "finished", num_epochs, num_epochs, None,
        state.precision, 1, state.data_fingerprint, dict(state.cell),
    )  # fmt: skip
    (folder / RunFolder.RECORD).write_text(to_json(record))
    with (folder / RunFolder.HISTORY).open("w", newline="") as file:
        writer = csv.DictWriter(file, list(state.history[0]))
        writer.writeheader()
        writer.writerows(state.history)
    timings = tuple(EpochTiming(ended, images=1, training_seconds=1.0, eval_seconds=1.0) for ended in state.ended_ms)
    timing = RunTiming(state.key, 1.0, 1.0, 1.0, None, timings, "a processor", "a version")
    (folder / RunFolder.TIMING).write_text(to_json(timing))


@pytest.fixture(scope="session")
def empty_store(store: Path) -> Path:
    return store


@pytest.fixture
def bare_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder without a store; its name has a space, a quote and an umlaut."""
    project = tmp_path / "müller's project"
    project.mkdir()
    monkeypatch.chdir(project)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return project


@pytest.fixture
def project(bare_project: Path, empty_store: Path) -> Path:
    shutil.copyfile(empty_store, bare_project / "mlflow.db")
    return bare_project


@pytest.fixture
def data_project(project: Path, prepared: Path) -> Path:
    """The project with params.yaml and prepared data."""
    shutil.copytree(prepared, project, dirs_exist_ok=True)
    return project


@pytest.fixture
def tracking() -> Tracking:
    return Tracking(uri=None, experiment="learning-report")


@pytest.fixture
def upload(tracking: Tracking) -> Upload:
    return lambda **changes: upload_content(tracking, **changes)


@pytest.fixture
def closed_port() -> int:
    """A port without a listener."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
