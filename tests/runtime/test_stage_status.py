"""Recorded status of stages that fail or are killed."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.errors import PipelineError, user_message
from pipeline.runtime.stage_status import (
    MAX_LINES,
    list_stage_statuses,
    read_stage_status,
    record_stage,
)

WORK = """
import sys, time
from pathlib import Path
from pipeline.runtime.stage_status import record_stage
from pipeline.runtime.shutdown import exit_on_sigterm
exit_on_sigterm()
with record_stage("train", "unet-0.01-0", Path(sys.argv[1])) as report:
    report("epoch 3 of 12: training 0.5, validation 0.6")
    print("started", flush=True)
    time.sleep(60)
"""


def start_stage(root: Path) -> subprocess.Popen[str]:
    """Start a process that keeps running after it has recorded its first message."""
    process = subprocess.Popen([sys.executable, "-c", WORK, str(root)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "started\n"
    return process


def test_success_leaves_no_status(tmp_path: Path) -> None:
    with record_stage("prepare", root=tmp_path) as report:
        report("half of it")
    assert list_stage_statuses(tmp_path) == []
    assert not list(tmp_path.rglob("*.json"))


@pytest.mark.parametrize("error", [PipelineError("data.path: there is nothing"), OSError(28, "No space left", "a.npy")])
def test_user_error_is_recorded_with_its_message(tmp_path: Path, error: Exception) -> None:
    with pytest.raises(type(error)), record_stage("prepare", root=tmp_path):
        raise error
    status = read_stage_status("prepare", root=tmp_path)
    assert status is not None
    assert (status.state, status.reason, status.lines) == ("failed", user_message(error), (user_message(error),))
    with record_stage("prepare", root=tmp_path):
        pass
    assert read_stage_status("prepare", root=tmp_path) is None


def test_bug_is_recorded_with_the_last_lines_of_its_traceback(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), record_stage("train", "unet-0.01-0", tmp_path) as report:
        for epoch in range(20):
            report(f"epoch {epoch}")
        1 / 0  # noqa: B018
    status = read_stage_status("train", "unet-0.01-0", tmp_path)
    assert status is not None
    assert (status.name, status.reason) == ("train@unet-0.01-0", "ZeroDivisionError: division by zero")
    assert len(status.lines) == MAX_LINES
    assert status.lines[-1] == "ZeroDivisionError: division by zero"
    assert any("1 / 0" in line for line in status.lines)


@pytest.mark.parametrize(
    ("number", "reason"),
    [(signal.SIGTERM, "It was stopped"), (signal.SIGKILL, "Its process was killed")],
    ids=["SIGTERM", "SIGKILL"],
)
def test_killed_stage_is_recognized(tmp_path: Path, number: signal.Signals, reason: str) -> None:
    with start_stage(tmp_path) as process:
        status = read_stage_status("train", "unet-0.01-0", tmp_path)
        assert status is not None
        assert (status.state, status.reason) == ("running", "epoch 3 of 12: training 0.5, validation 0.6")
        process.send_signal(number)
    status = read_stage_status("train", "unet-0.01-0", tmp_path)
    assert status is not None
    assert status.state == "killed"
    assert status.reason.startswith(f"{reason} after epoch 3 of 12: training 0.5, validation 0.6.")
    assert ("--workers 1" in status.reason) == (number == signal.SIGKILL)


def test_second_process_keeps_the_status_of_a_running_one(tmp_path: Path) -> None:
    with start_stage(tmp_path) as process:
        with record_stage("train", "unet-0.01-0", tmp_path) as report:
            report("epoch 1 of 12")
        status = read_stage_status("train", "unet-0.01-0", tmp_path)
        assert status is not None
        assert status.reason.startswith("epoch 3 of 12")
        process.kill()


def test_success_of_a_second_process_removes_the_status_of_a_dead_one(tmp_path: Path) -> None:
    """The worker of an earlier sweep may still be terminating."""
    with start_stage(tmp_path) as process, record_stage("train", "unet-0.01-0", tmp_path):
        process.terminate()
        process.wait()
        assert read_stage_status("train", "unet-0.01-0", tmp_path) is not None
    assert read_stage_status("train", "unet-0.01-0", tmp_path) is None


def test_run_name_cannot_leave_the_folder(tmp_path: Path) -> None:
    with pytest.raises(PipelineError), record_stage("evaluate", "../../../secret", tmp_path):
        raise PipelineError("that is a path")
    assert [path.parent for path in tmp_path.rglob("*.json")] == [tmp_path / ".cache/attempts"]


def test_work_continues_if_the_status_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / ".cache").write_text("no folder")
    with record_stage("prepare", root=tmp_path) as report:
        report("half of it")
    with pytest.raises(PipelineError, match="as it was"), record_stage("prepare", root=tmp_path):
        raise PipelineError("as it was")


@pytest.mark.parametrize(
    "content", ['{"state": "fai', '{"state": "failed"}', '{"state": "odd", "reason": "", "lines": []}']
)
def test_broken_status_is_reported_as_failed(tmp_path: Path, content: str) -> None:
    path = tmp_path / ".cache/attempts/train@unet-0.01-0.json"
    path.parent.mkdir(parents=True)
    path.write_text(content)
    (status,) = list_stage_statuses(tmp_path)
    assert status.state == "failed"
    assert str(path) in status.reason
