"""The MLflow store: its address, creation, recovery and errors."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.errors import PipelineError
from pipeline.params import Tracking
from pipeline.tracking.sqlite_store import find_sqlite_file
from pipeline.tracking.store import get_experiment_id, get_tracking_uri, hide_passwords, open_client
from tests.conftest import StartProcess
from tests.tracking.conftest import create_epochs, upload_content

NUM_PROCESSES = 3


def test_tracking_uri_prefers_environment_over_parameter_over_default(
    bare_project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert get_tracking_uri(Tracking(uri=None, experiment="e")) == f"sqlite:///{bare_project}/mlflow.db"
    assert get_tracking_uri(Tracking(uri="http://team:5000", experiment="e")) == "http://team:5000"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://lab.example")
    assert get_tracking_uri(Tracking(uri="http://team:5000", experiment="e")) == "https://lab.example"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    assert get_tracking_uri(Tracking(uri="http://team:5000", experiment="e")) == "http://team:5000"


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("sqlite:///other.db", "{root}/other.db"),
        ("sqlite:///sub/other.db?timeout=9", "{root}/sub/other.db"),
        ("sqlite:////srv/mlflow.db", "/srv/mlflow.db"),
        (None, "{root}/mlflow.db"),
    ],
)
def test_relative_sqlite_path_starts_in_dvc_root(
    uri: str | None, path: str, bare_project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path / "root"))
    resolved = get_tracking_uri(Tracking(uri=uri, experiment="e"))
    assert find_sqlite_file(resolved) == Path(path.format(root=tmp_path / "root"))
    assert resolved.endswith("?timeout=9") == ("?" in (uri or ""))


@pytest.mark.parametrize("uri", ["http://team:5000", "postgresql://team/mlflow", "sqlite:///:memory:", "sqlite://"])
def test_sqlite_file_of_other_uris_is_none(uri: str) -> None:
    assert find_sqlite_file(uri) is None
    assert get_tracking_uri(Tracking(uri=uri, experiment="e")) == uri or "MLFLOW_TRACKING_URI" in os.environ


def test_hide_passwords_removes_user_and_password() -> None:
    assert (
        hide_passwords("failed: postgresql://me:secret@team/mlflow, http://t:s@h")
        == "failed: postgresql://team/mlflow, http://h"
    )


def _train(number: int, start: "multiprocessing.synchronize.Barrier") -> None:
    losses = [{"train_loss": 1 / epoch, "val_loss": 2 / epoch} for epoch in (1, 2, 3)]
    start.wait()
    upload_content(
        Tracking(uri=None, experiment="learning-report"),
        name=f"unet-0.001-{number}",
        key=f"{number:064x}",
        epochs=create_epochs(*losses),
    )


def test_concurrent_processes_create_one_store(
    bare_project: Path, tracking: Tracking, start_process: StartProcess
) -> None:
    start = multiprocessing.get_context("forkserver").Barrier(NUM_PROCESSES)
    processes = [start_process(_train, number, start) for number in range(NUM_PROCESSES)]
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * NUM_PROCESSES

    client = open_client(get_tracking_uri(tracking))
    experiments = [item for item in client.search_experiments() if item.name == tracking.experiment]
    assert len(experiments) == 1
    runs = client.search_runs([experiments[0].experiment_id])
    assert sorted(run.info.run_name for run in runs) == [f"unet-0.001-{number}" for number in range(NUM_PROCESSES)]
    for run in runs:
        assert run.info.status == "FINISHED"
        assert run.info.artifact_uri.startswith(f"{bare_project}/mlruns/")
        assert [point.step for point in client.get_metric_history(run.info.run_id, "val_loss")] == [1, 2, 3]
    assert sorted(path.name for path in bare_project.iterdir()) == ["mlflow.db", "mlflow.db.lock"]


def _open(uri: str) -> None:
    open_client(uri)


def test_store_killed_during_creation_is_created_again(
    bare_project: Path, tracking: Tracking, start_process: StartProcess
) -> None:
    uri = get_tracking_uri(tracking)
    partial = bare_project / "mlflow.db.partial"
    creator = start_process(_open, uri)
    while creator.is_alive() and not (partial.exists() and partial.stat().st_size > 100_000):
        time.sleep(0.002)
    creator.kill()
    creator.join()
    if not partial.exists():
        pytest.skip("the store was complete before the kill")
    (bare_project / "mlflow.db").touch()  # an empty file is not a store
    assert open_client(uri).search_experiments()
    assert not partial.exists()


def test_tracking_modules_do_not_import_mlflow() -> None:
    code = "import sys; from pipeline.tracking import background_logger, sync, tags, ui; print('mlflow' in sys.modules)"
    root = str(Path(__file__).parents[2])
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_open_client_names_an_invalid_store_file(bare_project: Path, tracking: Tracking) -> None:
    (bare_project / "mlflow.db").write_text("not a database, but long enough to look at" * 100)
    with pytest.raises(PipelineError, match=r"mlflow\.db .*file is not a database"):
        open_client(get_tracking_uri(tracking))


def test_open_client_does_not_wait_for_an_unreachable_database(closed_port: int) -> None:
    with pytest.raises(OSError, match="refused"):
        open_client(f"postgresql://me:secret@127.0.0.1:{closed_port}/mlflow")


def test_get_experiment_id_restores_a_deleted_experiment(project: Path, tracking: Tracking) -> None:
    uri = get_tracking_uri(tracking)
    client = open_client(uri)
    experiment_id = get_experiment_id(client, uri, "study")
    client.delete_experiment(experiment_id)
    assert get_experiment_id(client, uri, "study") == experiment_id
    assert client.get_experiment(experiment_id).lifecycle_stage == "active"


KILLED_WHILE_WRITING = """
import os, signal, sqlite3, sys
store = sqlite3.connect(sys.argv[1])
store.execute("PRAGMA cache_size = 1")  # so that a part is written to the file early
store.execute("BEGIN")
store.executemany("INSERT INTO experiment_tags VALUES (?, ?, 0)", [(f"key {n}", "x" * 4000) for n in range(500)])
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_partial_write_of_a_killed_process_is_rolled_back(project: Path) -> None:
    path = project / "mlflow.db"
    killed = subprocess.run([sys.executable, "-c", KILLED_WHILE_WRITING, str(path)], check=False)
    assert killed.returncode == -signal.SIGKILL
    journal = path.with_name("mlflow.db-journal")
    assert journal.stat().st_size > 0
    client = open_client(f"sqlite:///{path}")
    assert client.get_experiment_by_name("Default") is not None
    assert not journal.exists() or journal.stat().st_size == 0


def test_read_only_store_can_be_read(project: Path) -> None:
    path = project / "mlflow.db"
    path.chmod(0o444)
    assert open_client(f"sqlite:///{path}").get_experiment_by_name("Default") is not None
