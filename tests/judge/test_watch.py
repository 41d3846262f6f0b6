"""`pipeline judge --watch` on logs that grow, appear, are replaced, or are half written."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from pipeline.cli import main
from pipeline.judge import watch as watch_module
from pipeline.judge.watch import Watcher
from tests.curve_readers.write_logs import create_record, create_scalar

HEADER = "epoch,train_loss,val_loss\n"


def create_rows(start: int, end: int) -> str:
    return "".join(f"{epoch},{1 / epoch},{1.01 / epoch}\n" for epoch in range(start, end))


def test_watch_of_a_missing_file_waits_and_says_so_once(tmp_path: Path) -> None:
    watcher = Watcher(tmp_path / "log.csv", None)
    assert watcher.poll() == ([], [], f"Waiting for {tmp_path / 'log.csv'}.")
    assert watcher.poll() == ([], [], "")
    (tmp_path / "log.csv").write_text(HEADER + create_rows(1, 3), encoding="utf-8")
    _, lines, _ = watcher.poll()
    assert lines == ["log, epoch 2: training 0.500, validation 0.505: learning"]


def test_watch_of_a_growing_file_prints_one_line_per_epoch_and_changed_verdict(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text(HEADER + create_rows(1, 2), encoding="utf-8")
    watcher, lines = Watcher(path, None), []
    for content in ("", create_rows(2, 3), "3,0.3", "3,0.34\n", "", "4,nan,1\n"):
        with path.open("a", encoding="utf-8") as file:
            file.write(content)
        lines += watcher.poll()[1]
    assert lines == [
        "log, epoch 1: training 1.000, validation 1.010: undecided",
        "log, epoch 2: training 0.500, validation 0.505: learning (before: undecided)",
        "log, epoch 3: training 0.330, validation 0.340: learning",
        "log, epoch 4: training nan, validation 1.000: diverged (before: learning)",
    ]


def test_watch_ignores_an_incomplete_last_line_until_the_file_rests(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text(HEADER + create_rows(1, 2) + "2,0.5,0.", encoding="utf-8")
    watcher = Watcher(path, None)
    assert watcher.poll()[1][0].startswith("log, epoch 1:")
    path.write_text(HEADER + create_rows(1, 2) + "2,0.5,0.75", encoding="utf-8")
    assert watcher.poll()[1] == []
    assert watcher.poll()[1] == ["log, epoch 2: training 0.500, validation 0.750: memorizing (before: undecided)"]
    assert watcher.poll() == ([], [], "")


def test_watch_of_a_replaced_file_reads_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / "log.json"
    watcher = Watcher(path, None, as_json=True)
    for num_epochs in (1, 2):
        records = [{"epoch": epoch, "loss": 1 / epoch, "val_loss": 1 / epoch} for epoch in range(1, num_epochs + 1)]
        new = tmp_path / "new"
        new.write_text(json.dumps(records), encoding="utf-8")
        new.replace(path)
        (line,) = watcher.poll()[1]
        assert json.loads(line)["epoch"] == num_epochs
        path.unlink()
        assert watcher.poll()[2] == f"Waiting for {path}."


def test_watch_of_an_unreadable_file_says_so_when_it_rests(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text(HEADER, encoding="utf-8")
    watcher = Watcher(path, None)
    assert watcher.poll()[2] == ""
    assert watcher.poll()[2].startswith(f"Waiting for more epochs: {path} has no rows")
    assert watcher.poll()[2] == ""


def test_watch_of_event_files_reads_complete_records(tmp_path: Path) -> None:
    path = tmp_path / "events.out.tfevents.1.host"
    watcher = Watcher(tmp_path, None)
    records = [
        create_record(create_scalar(tag, 1 / (step + 1), step))
        for step in range(3)
        for tag in ("loss/train", "loss/val")
    ]
    lines = []
    for end in range(0, sum(map(len, records)) + 1, 7):
        path.write_bytes(b"".join(records)[:end])
        lines += watcher.poll()[1]
    path.write_bytes(b"".join(records))
    lines += watcher.poll()[1]
    assert [line.split(":")[0].rpartition(", ")[2] for line in lines] == ["epoch 0", "epoch 1", "epoch 2"]


def test_watch_with_fail_on_ends_with_code_3(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "log.csv"
    path.write_text(HEADER + create_rows(1, 3), encoding="utf-8")
    appended = iter([create_rows(3, 4), "4,nan,nan\n"])

    def append(_: float) -> None:
        with path.open("a", encoding="utf-8") as file:
            file.write(next(appended))

    monkeypatch.setattr(watch_module, "sleep", append)
    result = CliRunner().invoke(main, ["judge", str(path), "--watch", "--fail-on", "diverged"])
    assert result.exit_code == 3
    assert [line.split(":")[0] for line in result.stdout.splitlines()] == [
        "log, epoch 2",
        "log, epoch 3",
        "log, epoch 4",
    ]
    assert result.stderr == "Failed: log has the verdict diverged.\n"


def test_watch_with_plot_is_refused(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["judge", "log.csv", "--watch", "--plot", str(tmp_path / "x.png")])
    assert result.exit_code == 2
    assert "--plot cannot be combined with --watch" in result.stderr


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.process
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 0), (signal.SIGTERM, 143)])
def test_watch_ends_on_a_signal(number: signal.Signals, code: int, tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text(HEADER + create_rows(1, 3), encoding="utf-8")
    # A test run in the background of a shell inherits an ignored SIGINT.
    start = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    command = [sys.executable, "-c", f"{start}from pipeline.cli import main; main()", "judge", str(path), "--watch"]
    with (tmp_path / "out").open("w") as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, env=os.environ)
        wait_for(lambda: "epoch 2" in (tmp_path / "out").read_text(encoding="utf-8"))
        process.send_signal(number)
        assert process.wait(60) == code
    assert (tmp_path / "out").read_text(encoding="utf-8").count("\n") == 1
