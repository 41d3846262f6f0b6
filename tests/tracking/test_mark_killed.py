"""Runs of killed processes are marked as KILLED in the store they were logged to."""

from __future__ import annotations

import multiprocessing
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

from pipeline.artifacts.project import Project
from pipeline.params import Tracking
from pipeline.tracking.mark_killed import FOLDER, OpenRuns, mark_killed
from pipeline.tracking.store import open_client
from tests.conftest import StartProcess
from tests.tracking.conftest import KEY, Upload, upload_content


def load_status(project: Path) -> str:
    client = open_client(f"sqlite:///{project}/mlflow.db")
    (run,) = client.search_runs([client.get_experiment_by_name("learning-report").experiment_id])
    return str(run.info.status)


def _log_and_wait(tracking: Tracking, started: Any) -> None:
    open_runs = OpenRuns(tracking, Project())
    open_runs.add(KEY, "unet-0.001-0")
    upload_content(tracking, status="RUNNING")
    started.set()
    signal.pause()


def kill_logging_process(tracking: Tracking, start_process: StartProcess) -> None:
    started = multiprocessing.get_context("forkserver").Event()
    process = start_process(_log_and_wait, tracking, started)
    assert started.wait(120)
    mark_killed(Project())
    assert load_status(Path.cwd()) == "RUNNING"  # its process is still running
    process.kill()
    process.join()


def test_mark_killed_with_an_unreachable_store_is_retried_in_that_store(
    project: Path, tracking: Tracking, start_process: StartProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    kill_logging_process(tracking, start_process)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")  # changed by the user since then
    (project / "mlflow.db").rename(project / "away.db")
    (project / "mlflow.db").write_text("no database")
    mark_killed(Project())
    (project / "away.db").rename(project / "mlflow.db")
    assert load_status(project) == "RUNNING"
    mark_killed(Project())
    assert load_status(project) == "KILLED"
    assert not list(FOLDER.glob("*"))


def test_mark_killed_keeps_finished_runs(
    project: Path, tracking: Tracking, start_process: StartProcess, upload: Upload
) -> None:
    kill_logging_process(tracking, start_process)
    upload(status="FINISHED")
    mark_killed(Project())
    assert load_status(project) == "FINISHED"


def test_mark_killed_in_a_copy_does_not_change_the_original(
    project: Path, tracking: Tracking, upload: Upload, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload(status="RUNNING")
    open_runs = OpenRuns(tracking, Project())
    open_runs.add(KEY, "unet-0.001-0")
    copy = tmp_path / "copy"
    shutil.copytree(project, copy)
    monkeypatch.chdir(copy)
    mark_killed(Project())
    assert (load_status(project), load_status(copy)) == ("RUNNING", "KILLED")
    open_runs.remove(KEY)
    open_runs.close()
    assert not list((project / FOLDER).iterdir())
