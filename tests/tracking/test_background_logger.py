"""The background logger: only its exit waits for the store, and a failing store never stops a training."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import multiprocessing
import os
import signal
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pipeline.artifacts.project import Project
from pipeline.params.file import read_params
from pipeline.runtime.shutdown import check_signals, defer_signals, is_stopping
from pipeline.tracking import background_logger
from pipeline.tracking.background_logger import BackgroundLogger
from pipeline.tracking.mark_killed import FOLDER, OpenRuns, mark_killed
from pipeline.tracking.mlflow_run import MlflowRun
from pipeline.tracking.run_content import RunContent
from pipeline.tracking.store import open_client
from tests.conftest import StartProcess
from tests.tracking.conftest import create_training_state, upload_content, write_run_folder

if TYPE_CHECKING:
    from mlflow.entities import Run

pytestmark = pytest.mark.usefixtures("data_project")


def start_logger() -> BackgroundLogger:
    return BackgroundLogger(read_params())


def load_runs() -> dict[str, Run]:
    client = open_client(f"sqlite:///{Path.cwd()}/mlflow.db")
    experiment = client.get_experiment_by_name("learning-report")
    runs = client.search_runs([experiment.experiment_id]) if experiment is not None else []
    by_name = {run.info.run_name: run for run in runs}
    assert len(by_name) == len(runs)
    return by_name


def list_steps(run: Run, name: str = "loss/train") -> list[int]:
    client = open_client(f"sqlite:///{Path.cwd()}/mlflow.db")
    return [point.step for point in client.get_metric_history(run.info.run_id, name)]


def list_warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.fixture
def held_uploads(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """An event that all uploads wait for."""
    event, upload = threading.Event(), MlflowRun.upload

    def wait_and_upload(run: MlflowRun, content: RunContent) -> None:
        assert event.wait(60)
        upload(run, content)

    monkeypatch.setattr(MlflowRun, "upload", wait_and_upload)
    yield event
    event.set()


def test_update_with_a_hanging_store_returns_immediately_and_loses_nothing(held_uploads: threading.Event) -> None:
    with start_logger() as logger:
        for num_epochs in range(4):
            for number in (0, 1):
                logger.update(create_training_state(number, num_epochs))
        assert not held_uploads.is_set()
        held_uploads.set()
    runs = load_runs()
    assert sorted(runs) == ["unet-0.001-0", "unet-0.001-1"]
    for number, run in enumerate(runs[name] for name in sorted(runs)):
        assert list_steps(run) == [1, 2, 3]
        assert run.data.metrics["loss/train"] == pytest.approx(number + 1 / 3)
        assert run.data.params["seed"] == str(number)
        assert run.data.tags["pipeline.stage"] == "train"
        assert run.info.start_time == 500


@pytest.mark.parametrize(
    ("raised", "has_failed", "status"),
    [(None, False, "KILLED"), (KeyboardInterrupt, False, "KILLED"), (ValueError, True, "FAILED")],
)
def test_exit_sets_the_status_of_unfinished_runs(
    raised: type[BaseException] | None, has_failed: bool, status: str
) -> None:
    try:
        with start_logger() as logger:
            logger.update(create_training_state(0, 1))
            logger.update(create_training_state(0, 1, has_failed=has_failed))
            if raised is not None:
                raise raised
    except BaseException as error:
        assert raised is not None
        assert isinstance(error, raised)
    assert [run.info.status for run in load_runs().values()] == [status]
    assert not list(FOLDER.glob("*"))


def test_kill_marks_only_the_given_run() -> None:
    with start_logger() as logger:
        for number in (0, 1):
            logger.update(create_training_state(number, 1))
        logger.kill("unet-0.001-0")
        logger.kill("unet-0.001-2")
        logger.update(create_training_state(1, 2))
        while (run := load_runs().get("unet-0.001-1")) is None or len(list_steps(run)) < 2:
            time.sleep(0.1)
        while load_runs()["unet-0.001-0"].info.status == "RUNNING":  # runs are uploaded in any order
            time.sleep(0.1)
        statuses = {name: run.info.status for name, run in load_runs().items()}
        assert statuses == {"unet-0.001-0": "KILLED", "unet-0.001-1": "RUNNING"}


def test_exit_raises_bugs_of_the_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise TypeError("a bug")

    monkeypatch.setattr(BackgroundLogger, "_upload_pending", fail)
    with pytest.raises(TypeError, match="a bug"), start_logger() as logger:
        logger.update(create_training_state(0, 1))


@pytest.mark.timeout(60)
def test_unreachable_store_causes_one_warning_without_password(
    closed_port: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://me:secret@127.0.0.1:{closed_port}")
    with start_logger() as logger:
        for number in (0, 1):
            logger.update(create_training_state(number, 1))
    (text,) = list_warnings(caplog)
    assert f"Run unet-0.001-0: MLflow at http://127.0.0.1:{closed_port} fails" in text
    assert "secret" not in text
    assert "\n" not in text


def overwrite(store: Path, content: bytes) -> None:
    """Overwrite a database in place, without the moment in which it is empty and thus a valid one without tables."""
    with store.open("r+b") as file:
        file.write(content)
        file.truncate()


def break_store(store: Path) -> bytes:
    """Overwrite a database between two transactions; return its content."""
    with contextlib.closing(sqlite3.connect(store, timeout=60, isolation_level=None)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        content = store.read_bytes()
        overwrite(store, b"no database" * 1000)
    return content


def test_store_that_recovers_gets_everything(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(background_logger, "RETRY_SECONDS", 0.2)
    store = Path("mlflow.db")
    content = break_store(store)
    with start_logger() as logger:
        logger.update(create_training_state(0, 1))
        while not list_warnings(caplog):
            time.sleep(0.05)
        overwrite(store, content)
        while not load_runs():
            time.sleep(0.1)
        content = break_store(store)
        logger.update(create_training_state(0, 3))
        time.sleep(0.5)
        overwrite(store, content)
    (run,) = load_runs().values()
    assert list_steps(run) == [1, 2, 3]
    assert run.info.start_time == 500  # not the time when the store recovered
    assert len(list_warnings(caplog)) == 1


def test_refused_run_does_not_stop_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background_logger, "RETRY_SECONDS", 0.0)
    with start_logger() as logger:
        logger.finish("missing-0.1-0")  # has no run folder
        for number in range(5):
            logger.update(create_training_state(number, 1))
    assert len(load_runs()) == 5


def test_finished_run_of_a_killed_process_is_uploaded_by_the_next_logger() -> None:
    state = create_training_state(0, 2)
    upload_content(read_params().tracking, name=state.run, key=state.key, status="RUNNING")
    killed = OpenRuns(read_params().tracking, Project())
    killed.add(state.key, state.run)
    write_run_folder(state, Path())
    del killed  # releases its lock, as if its process had ended
    with start_logger():
        pass
    (run,) = load_runs().values()
    assert (run.info.status, list_steps(run)) == ("FINISHED", [1, 2])
    assert not list(FOLDER.glob("*"))


def _train_until_signal(uploading: Any) -> None:
    """Receive SIGTERM during an upload."""
    upload = MlflowRun.upload

    def slow_upload(self: MlflowRun, content: RunContent) -> None:
        uploading.set()
        while not is_stopping():
            time.sleep(0.05)
        upload(self, content)

    MlflowRun.upload = slow_upload  # type: ignore[method-assign]
    defer_signals()
    with start_logger() as logger:
        logger.update(create_training_state(0, 2))
        while True:
            time.sleep(0.05)
            check_signals()


def _wait_for_hanging_store(uploading: Any) -> None:
    """Receive SIGTERM while the store hangs."""

    def hang(self: MlflowRun, content: RunContent) -> None:
        MlflowRun.upload = upload  # type: ignore[method-assign]
        upload(self, dataclasses.replace(content, epochs=()))
        uploading.set()
        time.sleep(60)

    upload = MlflowRun.upload
    MlflowRun.upload = hang  # type: ignore[method-assign]
    background_logger.END_SECONDS = 1
    defer_signals()
    with start_logger() as logger:
        logger.update(create_training_state(0, 2))
        while True:
            time.sleep(0.05)
            check_signals()


@pytest.mark.parametrize("target", [_train_until_signal, _wait_for_hanging_store])
def test_signal_marks_the_run_as_killed(target: Any, start_process: StartProcess) -> None:
    uploading = multiprocessing.get_context("forkserver").Event()
    process = start_process(target, uploading)
    assert uploading.wait(120)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGTERM)
    process.join()
    # On a busy machine the operating system ends the process first, while Python unloads its modules.
    assert process.exitcode in (128 + signal.SIGTERM, -signal.SIGALRM)
    if target is _wait_for_hanging_store:
        assert [run.info.status for run in load_runs().values()] == ["RUNNING"]
        mark_killed(Project())  # as the next command would
    (run,) = load_runs().values()
    assert run.info.status == "KILLED"
    if target is _train_until_signal:
        assert list_steps(run) == [1, 2]
    assert not list(FOLDER.glob("*"))
