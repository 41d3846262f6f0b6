"""Commands whose output is piped into a program that exits early, such as `head`, exit quietly."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.cli.broken_pipe import EXIT_CODE
from pipeline.runtime.stage_status import read_stage_status
from tests.conftest import ROOT, TRAINED, write_params

PIPELINE = (sys.executable, "-c", "from pipeline.cli import main; main()")


def run_without_reader(*arguments: str, close_stderr: bool = False) -> tuple[int, str]:
    """Run a command whose stdout (with `close_stderr` also stderr) has no reader; return its exit code and stderr."""
    read_end, write_end = os.pipe()
    os.close(read_end)
    try:
        done = subprocess.run(
            [*PIPELINE, *arguments],
            stdout=write_end,
            stderr=write_end if close_stderr else subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            text=True,
            check=False,
        )
    finally:
        os.close(write_end)
    return done.returncode, done.stderr or ""


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["--version"], ["train", "--help"], ["params"], ["params", "--schema"], ["judge", "history.csv"]],
    ids=" ".join,
)
def test_command_without_stdout_reader_exits_quietly(project: Path, arguments: list[str]) -> None:
    rows = [f"{epoch},{1 / epoch},{1.2 / epoch}" for epoch in range(1, 9)]
    (project / "history.csv").write_text("\n".join(["epoch,train_loss,val_loss", *rows]), encoding="utf-8")
    assert run_without_reader(*arguments) == (EXIT_CODE, "")


def test_predict_without_stdout_reader_exits_quietly(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(trained)
    image = next((ROOT / "data/sample/backgrounds").glob("*.jpg"))
    code, errors = run_without_reader("predict", str(image), "--run", TRAINED, "--out", str(tmp_path))
    assert (code, errors) == (EXIT_CODE, "")


def test_error_without_stdout_reader_keeps_exit_code_and_message(project: Path) -> None:
    code, errors = run_without_reader("nosuch")
    assert (code, "No such command 'nosuch'" in errors) == (2, True)
    (project / "params.yaml").unlink()
    code, errors = run_without_reader("params")
    assert (code, "params.yaml is missing" in errors) == (1, True)


def test_error_without_stderr_reader_exits_quietly(project: Path) -> None:
    assert run_without_reader("nosuch", close_stderr=True)[0] == EXIT_CODE


def test_train_without_reader_is_recorded_as_killed(project: Path) -> None:
    write_params(project, {"train": {"epochs": 500}})
    code, _ = run_without_reader(
        "train", "--variant", "unet", "--learning-rate", "0.01", "--seed", "0", close_stderr=True
    )
    assert code == EXIT_CODE
    status = read_stage_status("train", "unet-0.01-0", project)
    assert status is not None
    assert status.state == "killed"
    with sqlite3.connect(project / "mlflow.db") as store:
        assert store.execute("SELECT status FROM runs").fetchall() == [("KILLED",)]
    store.close()


def test_broken_pipe_of_another_file_is_an_error(project: Path) -> None:
    code = (
        "from pipeline.cli import main\n"
        "def fail(*_): raise BrokenPipeError(32, 'Broken pipe', 'worker')\n"
        "import pipeline.params.file; pipeline.params.file.read_params = fail\n"
        "main(['params'])"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 1
    assert done.stderr == "Error: worker: Broken pipe. Fix this, then run the same command again.\n"
    assert done.stdout == ""
