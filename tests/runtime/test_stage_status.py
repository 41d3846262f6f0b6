"""The status of stages that fail or whose processes are killed."""

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
with record_stage("train", "unet-0.01-0", Path(sys.argv[1])) as say:
    say("epoch 3 of 12: training 0.5, validation 0.6")
    print("there", flush=True)
    time.sleep(60)
"""


def working(root: Path) -> subprocess.Popen[str]:
    """Start a process that has recorded its first message and continues."""
    process = subprocess.Popen([sys.executable, "-c", WORK, str(root)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "there\n"
    return process


def test_success_leaves_no_status(tmp_path: Path) -> None:
    with record_stage("prepare", root=tmp_path) as say:
        say("half of it")
    assert list_stage_statuses(tmp_path) == []
    assert not list(tmp_path.rglob("*.json"))


@pytest.mark.parametrize("error", [PipelineError("data.path: there is nothing"), OSError(28, "No space left", "a.npy")])
def test_user_error_is_recorded_with_its_message(tmp_path: Path, error: Exception) -> None:
    with pytest.raises(type(error)), record_stage("prepare", root=tmp_path):
        raise error
    found = read_stage_status("prepare", root=tmp_path)
    assert found is not None
    assert (found.state, found.reason, found.lines) == ("failed", user_message(error), (user_message(error),))
    with record_stage("prepare", root=tmp_path):
        pass
    assert read_stage_status("prepare", root=tmp_path) is None


def test_bug_is_recorded_with_the_last_lines_of_its_traceback(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), record_stage("train", "unet-0.01-0", tmp_path) as say:
        for epoch in range(20):
            say(f"epoch {epoch}")
        1 / 0  # noqa: B018
    found = read_stage_status("train", "unet-0.01-0", tmp_path)
    assert found is not None
    assert (found.name, found.reason) == ("train@unet-0.01-0", "ZeroDivisionError: division by zero")
    assert len(found.lines) == MAX_LINES
    assert found.lines[-1] == "ZeroDivisionError: division by zero"
    assert any("1 / 0" in line for line in found.lines)


@pytest.mark.parametrize(
    ("number", "how"),
    [(signal.SIGTERM, "It was stopped"), (signal.SIGKILL, "Its process was killed")],
    ids=["told", "killed"],
)
def test_killed_stage_is_recognized(tmp_path: Path, number: signal.Signals, how: str) -> None:
    with working(tmp_path) as process:
        found = read_stage_status("train", "unet-0.01-0", tmp_path)
        assert found is not None
        assert (found.state, found.reason) == ("running", "epoch 3 of 12: training 0.5, validation 0.6")
        process.send_signal(number)
    found = read_stage_status("train", "unet-0.01-0", tmp_path)
    assert found is not None
    assert found.state == "killed"
    assert found.reason.startswith(f"{how} after epoch 3 of 12: training 0.5, validation 0.6.")
    assert ("--workers 1" in found.reason) == (number == signal.SIGKILL)


def test_second_process_leaves_the_status_alone(tmp_path: Path) -> None:
    with working(tmp_path) as process:
        with record_stage("train", "unet-0.01-0", tmp_path) as say:
            say("epoch 1 of 12")
        found = read_stage_status("train", "unet-0.01-0", tmp_path)
        assert found is not None
        assert found.reason.startswith("epoch 3 of 12")
        process.kill()


def test_success_of_a_second_process_removes_the_status_of_a_dead_one(tmp_path: Path) -> None:
    """As when the worker of an earlier sweep is still ending."""
    with working(tmp_path) as process, record_stage("train", "unet-0.01-0", tmp_path):
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
    with record_stage("prepare", root=tmp_path) as say:
        say("half of it")
    with pytest.raises(PipelineError, match="as it was"), record_stage("prepare", root=tmp_path):
        raise PipelineError("as it was")


@pytest.mark.parametrize(
    "content", ['{"state": "fai', '{"state": "failed"}', '{"state": "odd", "reason": "", "lines": []}']
)
def test_broken_status_is_reported_as_failed(tmp_path: Path, content: str) -> None:
    path = tmp_path / ".cache/attempts/train@unet-0.01-0.json"
    path.parent.mkdir(parents=True)
    path.write_text(content)
    (found,) = list_stage_statuses(tmp_path)
    assert found.state == "failed"
    assert str(path) in found.reason
