"""Moved and copied projects: MLflow's artifacts are found and written in the new folder."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import sqlite3
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pipeline.artifacts.project import RUNS, TEMPLATES
from pipeline.artifacts.run_folder import RunFolder
from pipeline.tracking.store import open_client
from tests.conftest import ROOT, TRAINED
from tests.preloaded import PreloadedCommands
from tests.tracking.test_ui import OTHER_LOOPBACK, run_server

if TYPE_CHECKING:
    from mlflow.entities import Run

Command = Callable[..., subprocess.CompletedProcess[str]]

pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def command(commands: PreloadedCommands) -> Command:
    """Return a function that runs commands in new processes, because MLflow caches a run's location per process."""

    def command(*arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        return commands.run("pipeline", *arguments, folder=Path.cwd(), environment=environment)

    return command


@pytest.fixture
def trained_project(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: Command) -> Path:
    """A trained project with a local store, as the current folder."""
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    project = tmp_path / "old ü" / "müller's project"
    shutil.copytree(trained, project)
    for name in (TEMPLATES, Path("reports/notes.md")):
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).symlink_to(ROOT / name)
    monkeypatch.chdir(project)
    assert command("sync").returncode == 0
    return project


def load_runs(project: Path) -> list[Run]:
    client = open_client(f"sqlite:///{project}/mlflow.db")
    experiment = client.get_experiment_by_name("learning-report")
    assert experiment is not None
    assert experiment.artifact_location == f"{project}/mlruns"
    return list(client.search_runs([experiment.experiment_id]))


@pytest.fixture
def moved_project(trained_project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The project in another folder; a file blocks its old path."""
    monkeypatch.chdir(tmp_path)
    new = trained_project.rename(tmp_path / "néw folder")
    trained_project.parent.rmdir()
    trained_project.parent.touch()
    monkeypatch.chdir(new)
    return new


def test_commands_work_in_a_moved_project(moved_project: Path, command: Command) -> None:
    (moved_project / RUNS / TRAINED / "more.txt").write_text("new file")
    done = command("sync")
    assert done.returncode == 0, done.stderr
    assert "uploaded 0 metric values and 1 folder of files" in done.stdout
    assert done.stderr.splitlines() == [
        f"{moved_project}/mlflow.db was moved here from {moved_project.parent}/old ü/müller's project; "
        "its runs' files are now expected in mlruns."
    ]
    assert command("promote").returncode == 0
    page = command("report", "--runs", "mlflow:latest", "--out", "page.html")
    assert page.returncode == 0, page.stderr
    runs = {run.info.run_name: run for run in load_runs(moved_project)}
    assert Path(runs[TRAINED].info.artifact_uri) == moved_project / "mlruns" / runs[TRAINED].info.run_id / "artifacts"
    assert (Path(runs[TRAINED].info.artifact_uri) / "run" / "more.txt").exists()
    assert (moved_project.parent / "old ü").is_file()


def test_public_ui_of_a_moved_project_lists_its_files_and_warns(moved_project: Path) -> None:
    with run_server(moved_project, "0.0.0.0") as server:
        assert re.search(r"Listening on 0\.0\.0\.0: .* can read, change and delete all runs", server.output)
        assert server.link.startswith(server.address)  # an address that a local browser can open
        with socket.socket() as probe:
            assert probe.connect_ex((OTHER_LOOPBACK, server.port)) == 0
        (run,) = [run for run in load_runs(moved_project) if run.info.run_name == TRAINED]
        query = urllib.parse.urlencode({"run_id": run.info.run_id, "path": "run"})
        with urllib.request.urlopen(f"{server.address}/api/2.0/mlflow/artifacts/list?{query}", timeout=30) as response:
            files = [item["path"] for item in json.load(response)["files"]]
    assert f"run/{RunFolder.RECORD}" in files


def test_copied_project_writes_only_to_its_own_folder(
    trained_project: Path, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(trained_project, copy, symlinks=True)
    before = {
        path: path.stat().st_mtime_ns
        for path in [trained_project / "mlflow.db", *(trained_project / "mlruns").rglob("*")]
    }
    monkeypatch.chdir(copy)
    (copy / RUNS / TRAINED / "more.txt").write_text("new file")
    assert command("sync").returncode == 0
    assert all(run.info.artifact_uri.startswith(f"{copy}/mlruns/") for run in load_runs(copy))
    assert {
        path: path.stat().st_mtime_ns
        for path in [trained_project / "mlflow.db", *(trained_project / "mlruns").rglob("*")]
    } == before
    assert all(run.info.artifact_uri.startswith(f"{trained_project}/mlruns/") for run in load_runs(trained_project))


def test_copied_database_without_artifacts_keeps_its_locations(trained_project: Path, tmp_path: Path) -> None:
    shutil.copy(trained_project / "mlflow.db", tmp_path / "backup.db")
    client = open_client(f"sqlite:///{tmp_path}/backup.db")
    experiment = client.get_experiment_by_name("learning-report")
    assert experiment is not None
    assert experiment.artifact_location == f"{trained_project}/mlruns"


def test_other_artifact_locations_are_kept(trained_project: Path, tmp_path: Path) -> None:
    encoded = f"file://{urllib.parse.quote(str(trained_project / 'mlruns'))}"
    locations = {
        "own server": "/big/mlruns/1",
        "bucket": "s3://bucket/mlruns",
        "server": "mlflow-artifacts:/7",
        "beside": f"{trained_project}/mlruns-2/1",
        "as URI": encoded,
        "default": f"{trained_project}/mlruns/0",
    }
    client = open_client(f"sqlite:///{trained_project}/mlflow.db")
    for name, location in locations.items():
        client.create_experiment(name, location)
    with sqlite3.connect(trained_project / "mlflow.db") as database:  # MLflow would decode it
        database.execute("UPDATE experiments SET artifact_location = ? WHERE name = 'as URI'", (encoded,))
    new = trained_project.rename(tmp_path / "new ö")
    open_client(f"sqlite:///{new}/mlflow.db")
    with sqlite3.connect(new / "mlflow.db") as database:
        stored = dict(database.execute("SELECT name, artifact_location FROM experiments"))
    moved = {"as URI": f"file://{urllib.parse.quote(str(new / 'mlruns'))}", "default": f"{new}/mlruns/0"}
    assert {name: stored[name] for name in locations} == {**locations, **moved}


def test_unwritable_artifact_folder_is_named(trained_project: Path, command: Command) -> None:
    shutil.rmtree(trained_project / "mlruns")
    (trained_project / "mlruns").touch()
    done = command("sync")
    assert done.returncode == 1
    location = f"MLflow's artifact location {trained_project}/mlruns/"
    assert f"The files of {TRAINED} cannot be written to {location}" in done.stderr
    assert "Make that folder writable" in done.stderr
    assert "Errno" not in done.stderr


def test_unwritable_store_is_named(trained_project: Path, command: Command) -> None:
    (trained_project / RUNS / TRAINED / "more.txt").write_text("new file")
    with sqlite3.connect(trained_project / "mlflow.db") as database:
        database.execute("CREATE TRIGGER refuse BEFORE UPDATE ON tags BEGIN SELECT RAISE(FAIL, 'disk I/O error'); END")
    done = command("sync")
    assert done.returncode == 1
    assert f"{trained_project}/mlflow.db: SQLite cannot use this MLflow store: disk I/O error." in done.stderr
    assert "Traceback" not in done.stderr
