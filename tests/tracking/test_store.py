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
from pipeline.tracking.sqlite_store import sqlite_file
from pipeline.tracking.store import get_experiment_id, hide_passwords, open_client, tracking_uri
from tests.tracking.conftest import epochs, upload_content

CELLS = 3


def test_the_environment_goes_before_the_parameter_and_both_before_the_default(
    bare_project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert tracking_uri(Tracking(uri=None, experiment="e")) == f"sqlite:///{bare_project}/mlflow.db"
    assert tracking_uri(Tracking(uri="http://team:5000", experiment="e")) == "http://team:5000"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://lab.example")
    assert tracking_uri(Tracking(uri="http://team:5000", experiment="e")) == "https://lab.example"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    assert tracking_uri(Tracking(uri="http://team:5000", experiment="e")) == "http://team:5000"


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("sqlite:///other.db", "{root}/other.db"),
        ("sqlite:///sub/other.db?timeout=9", "{root}/sub/other.db"),
        ("sqlite:////srv/mlflow.db", "/srv/mlflow.db"),
        (None, "{root}/mlflow.db"),
    ],
)
def test_a_relative_sqlite_path_starts_in_the_folder_that_dvc_names(
    uri: str | None, path: str, bare_project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path / "root"))
    resolved = tracking_uri(Tracking(uri=uri, experiment="e"))
    assert sqlite_file(resolved) == Path(path.format(root=tmp_path / "root"))
    assert resolved.endswith("?timeout=9") == ("?" in (uri or ""))


@pytest.mark.parametrize("uri", ["http://team:5000", "postgresql://team/mlflow", "sqlite:///:memory:", "sqlite://"])
def test_other_addresses_are_no_sqlite_file(uri: str) -> None:
    assert sqlite_file(uri) is None
    assert tracking_uri(Tracking(uri=uri, experiment="e")) == uri or "MLFLOW_TRACKING_URI" in os.environ


def test_hide_passwords_removes_them() -> None:
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
        epochs=epochs(*losses),
    )


def test_processes_that_find_no_store_make_it_once(bare_project: Path, tracking: Tracking) -> None:
    spawn = multiprocessing.get_context("spawn")
    start = spawn.Barrier(CELLS)
    cells = [spawn.Process(target=_train, args=(number, start)) for number in range(CELLS)]
    for cell in cells:
        cell.start()
    for cell in cells:
        cell.join()
    assert [cell.exitcode for cell in cells] == [0] * CELLS

    client = open_client(tracking_uri(tracking))
    experiments = [item for item in client.search_experiments() if item.name == tracking.experiment]
    assert len(experiments) == 1
    runs = client.search_runs([experiments[0].experiment_id])
    assert sorted(run.info.run_name for run in runs) == [f"unet-0.001-{number}" for number in range(CELLS)]
    for run in runs:
        assert run.info.status == "FINISHED"
        assert run.info.artifact_uri.startswith(f"{bare_project}/mlruns/")
        assert [point.step for point in client.get_metric_history(run.info.run_id, "val_loss")] == [1, 2, 3]
    assert sorted(path.name for path in bare_project.iterdir()) == ["mlflow.db", "mlflow.db.lock"]


def _open(uri: str) -> None:
    open_client(uri)


def test_a_kill_while_the_store_is_made_does_no_harm(bare_project: Path, tracking: Tracking) -> None:
    uri = tracking_uri(tracking)
    partial = bare_project / "mlflow.db.partial"
    maker = multiprocessing.get_context("spawn").Process(target=_open, args=(uri,))
    maker.start()
    while maker.is_alive() and not (partial.exists() and partial.stat().st_size > 100_000):
        time.sleep(0.002)
    maker.kill()
    maker.join()
    if not partial.exists():
        pytest.skip("the store was made before the kill came")
    (bare_project / "mlflow.db").touch()  # an empty file is no store either
    assert open_client(uri).search_experiments()
    assert not partial.exists()


def test_mlflow_is_imported_only_when_it_is_used() -> None:
    code = "import sys; from pipeline.tracking import background_logger, sync, tags, ui; print('mlflow' in sys.modules)"
    root = str(Path(__file__).parents[2])
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_a_file_that_is_no_store_is_named_at_once(bare_project: Path, tracking: Tracking) -> None:
    (bare_project / "mlflow.db").write_text("not a database, but long enough to look at" * 100)
    with pytest.raises(PipelineError, match=r"mlflow\.db .*file is not a database"):
        open_client(tracking_uri(tracking))


def test_a_database_server_that_is_down_is_not_waited_for(closed_port: int) -> None:
    with pytest.raises(OSError, match="refused"):
        open_client(f"postgresql://me:secret@127.0.0.1:{closed_port}/mlflow")


def test_a_deleted_experiment_is_restored(project: Path, tracking: Tracking) -> None:
    uri = tracking_uri(tracking)
    client = open_client(uri)
    made = get_experiment_id(client, uri, "study")
    client.delete_experiment(made)
    assert get_experiment_id(client, uri, "study") == made
    assert client.get_experiment(made).lifecycle_stage == "active"


KILLED_WHILE_WRITING = """
import os, signal, sqlite3, sys
store = sqlite3.connect(sys.argv[1])
store.execute("PRAGMA cache_size = 1")  # so that half of it stands in the file already
store.execute("BEGIN")
store.executemany("INSERT INTO experiment_tags VALUES (?, ?, 0)", [(f"key {n}", "x" * 4000) for n in range(500)])
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_kill_left_half_written_is_taken_back(project: Path) -> None:
    path = project / "mlflow.db"
    killed = subprocess.run([sys.executable, "-c", KILLED_WHILE_WRITING, str(path)], check=False)
    assert killed.returncode == -signal.SIGKILL
    journal = path.with_name("mlflow.db-journal")
    assert journal.stat().st_size > 0
    client = open_client(f"sqlite:///{path}")
    assert client.get_experiment_by_name("Default") is not None
    assert not journal.exists() or journal.stat().st_size == 0


def test_a_store_that_may_only_be_read_can_be_read(project: Path) -> None:
    path = project / "mlflow.db"
    path.chmod(0o444)
    assert open_client(f"sqlite:///{path}").get_experiment_by_name("Default") is not None
