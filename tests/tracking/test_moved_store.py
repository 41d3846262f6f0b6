"""A project in another folder than it was trained in: MLflow's artifacts are found and written there."""

from __future__ import annotations

import json
import os
import shutil
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
from tests.tracking.test_ui import serving

if TYPE_CHECKING:
    from mlflow.entities import Run

Command = Callable[..., subprocess.CompletedProcess[str]]

pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def command(commands: PreloadedCommands) -> Command:
    """Run commands in processes: MLflow keeps a run's location, by its id, as long as a process lives."""

    def command(*arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        return commands.run("pipeline", *arguments, folder=Path.cwd(), environment=environment)

    return command


@pytest.fixture
def old(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: Command) -> Path:
    """A trained project, tracked in its folder, which is the current one."""
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


def stored_runs(project: Path) -> list[Run]:
    client = open_client(f"sqlite:///{project}/mlflow.db")
    experiment = client.get_experiment_by_name("learning-report")
    assert experiment is not None
    assert experiment.artifact_location == f"{project}/mlruns"
    return list(client.search_runs([experiment.experiment_id]))


@pytest.fixture
def moved(old: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The project in another folder; a file makes its old path impossible."""
    monkeypatch.chdir(tmp_path)
    new = old.rename(tmp_path / "néw place")
    old.parent.rmdir()
    old.parent.touch()
    monkeypatch.chdir(new)
    return new


def test_commands_work_in_a_moved_project(moved: Path, command: Command) -> None:
    (moved / RUNS / TRAINED / "more.txt").write_text("something to send")
    said = command("sync")
    assert said.returncode == 0, said.stderr
    assert "uploaded 0 points and 1 folders" in said.stdout
    assert said.stderr.splitlines() == [
        f"{moved}/mlflow.db was moved here from {moved.parent}/old ü/müller's project; "
        "its runs' files are now expected in mlruns."
    ]
    assert command("promote").returncode == 0
    page = command("report", "--runs", "mlflow:latest", "--out", "page.html")
    assert page.returncode == 0, page.stderr
    found = {run.info.run_name: run for run in stored_runs(moved)}
    assert Path(found[TRAINED].info.artifact_uri) == moved / "mlruns" / found[TRAINED].info.run_id / "artifacts"
    assert (Path(found[TRAINED].info.artifact_uri) / "run" / "more.txt").exists()
    assert (moved.parent / "old ü").is_file()


def test_the_pages_of_a_moved_project_list_its_files(moved: Path) -> None:
    with serving(moved) as server:
        (run,) = [one for one in stored_runs(moved) if one.info.run_name == TRAINED]
        question = urllib.parse.urlencode({"run_id": run.info.run_id, "path": "run"})
        with urllib.request.urlopen(f"{server.address}/api/2.0/mlflow/artifacts/list?{question}", timeout=30) as answer:
            files = [item["path"] for item in json.load(answer)["files"]]
    assert f"run/{RunFolder.RECORD}" in files


def test_a_copy_writes_to_its_own_folder_only(
    old: Path, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(old, copy, symlinks=True)
    before = {path: path.stat().st_mtime_ns for path in [old / "mlflow.db", *(old / "mlruns").rglob("*")]}
    monkeypatch.chdir(copy)
    (copy / RUNS / TRAINED / "more.txt").write_text("something to send")
    assert command("sync").returncode == 0
    assert all(run.info.artifact_uri.startswith(f"{copy}/mlruns/") for run in stored_runs(copy))
    assert {path: path.stat().st_mtime_ns for path in [old / "mlflow.db", *(old / "mlruns").rglob("*")]} == before
    assert all(run.info.artifact_uri.startswith(f"{old}/mlruns/") for run in stored_runs(old))


def test_a_database_copied_alone_keeps_the_files_of_the_original(old: Path, tmp_path: Path) -> None:
    shutil.copy(old / "mlflow.db", tmp_path / "backup.db")
    client = open_client(f"sqlite:///{tmp_path}/backup.db")
    experiment = client.get_experiment_by_name("learning-report")
    assert experiment is not None
    assert experiment.artifact_location == f"{old}/mlruns"


def test_other_locations_are_left_alone_and_uris_keep_their_form(old: Path, tmp_path: Path) -> None:
    encoded = f"file://{urllib.parse.quote(str(old / 'mlruns'))}"
    locations = {
        "own server": "/big/mlruns/1",
        "bucket": "s3://bucket/mlruns",
        "server": "mlflow-artifacts:/7",
        "beside": f"{old}/mlruns-2/1",
        "as URI": encoded,
        "default": f"{old}/mlruns/0",
    }
    client = open_client(f"sqlite:///{old}/mlflow.db")
    for name, location in locations.items():
        client.create_experiment(name, location)
    with sqlite3.connect(old / "mlflow.db") as database:  # MLflow decodes what it is given
        database.execute("UPDATE experiments SET artifact_location = ? WHERE name = 'as URI'", (encoded,))
    new = old.rename(tmp_path / "new ö")
    open_client(f"sqlite:///{new}/mlflow.db")
    with sqlite3.connect(new / "mlflow.db") as database:
        found = dict(database.execute("SELECT name, artifact_location FROM experiments"))
    moved = {"as URI": f"file://{urllib.parse.quote(str(new / 'mlruns'))}", "default": f"{new}/mlruns/0"}
    assert {name: found[name] for name in locations} == {**locations, **moved}


def test_a_folder_of_artifacts_that_cannot_be_written_is_named(old: Path, command: Command) -> None:
    shutil.rmtree(old / "mlruns")
    (old / "mlruns").touch()
    said = command("sync")
    assert said.returncode == 1
    assert f"The files of {TRAINED} cannot be written to {old}/mlruns/" in said.stderr
    assert "Make that folder writable" in said.stderr
    assert "Errno" not in said.stderr


def test_a_store_that_cannot_be_written_is_named(old: Path, command: Command) -> None:
    (old / RUNS / TRAINED / "more.txt").write_text("something to send")
    with sqlite3.connect(old / "mlflow.db") as database:
        database.execute("CREATE TRIGGER refuse BEFORE UPDATE ON tags BEGIN SELECT RAISE(FAIL, 'disk I/O error'); END")
    said = command("sync")
    assert said.returncode == 1
    assert f"{old}/mlflow.db: SQLite cannot use this MLflow store: disk I/O error." in said.stderr
    assert "Traceback" not in said.stderr
