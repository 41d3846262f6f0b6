"""Commands on a full disk report the file and the remedy instead of a traceback."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeline.artifacts.project import RUNS
from pipeline.artifacts.run_folder import RunFolder
from tests.conftest import ROOT, TRAINED
from tests.preloaded import PreloadedCommands

MESSAGE = "the disk is full. Free some space, then run the same command again."
STORE_MESSAGE = (
    "SQLite cannot use this MLflow store: database or disk is full. Free some space, then run the same command again."
)
Run = Callable[..., tuple[int, str]]
TRAIN = ("train", "--variant", "unet", "--learning-rate", "0.01", "--seed", "1")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """An empty file system of 40 MB."""
    mount_point = tmp_path / "disk"
    mount_point.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=40m", "tmpfs", mount_point]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a file system needs root")
    try:
        yield mount_point
    finally:
        subprocess.run(["umount", mount_point], check=True)


@pytest.fixture
def project(disk: Path, trained: Path) -> Path:
    """A trained project on the small disk."""
    copy = Path(shutil.copytree(trained, disk / "project"))
    (copy / "data/sample").symlink_to(ROOT / "data/sample")
    return copy


def fill(folder: Path, leave: int = 0) -> None:
    """Fill the disk of a folder except for `leave` bytes."""
    with (folder / "filler").open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            file.truncate(max(0, file.tell() - leave))


@pytest.fixture
def run(commands: PreloadedCommands) -> Run:
    """Return a function that runs a `pipeline` command in a folder and returns its exit code and output."""

    def run(folder: Path, *arguments: str) -> tuple[int, str]:
        excluded = ("MLFLOW_TRACKING_URI", "DVC_ROOT")
        kept = {key: value for key, value in os.environ.items() if key not in excluded}
        done = commands.run("pipeline", *arguments, folder=folder, environment={**kept, "PYTHONPATH": str(ROOT)})
        output = done.stdout + done.stderr
        assert "Traceback" not in output
        assert "[SQL" not in output
        return done.returncode, output

    return run


@pytest.mark.parametrize(
    ("arguments", "file"),
    [
        (("prepare",), "data/prepared"),
        (("evaluate", TRAINED), f"evaluation/{TRAINED}"),
        (("compare",), "comparison"),
        (("report", "--out", "mine.html"), "mine.html"),
        (("predict", str(ROOT / "data/sample/backgrounds/corn_maze.jpg")), "predictions/.predicted_files.json"),
        (("judge", f"runs/{TRAINED}/history.csv", "--plot", "curves.png"), "curves.png"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_command_on_a_full_disk_names_the_file(project: Path, arguments: tuple[str, ...], file: str, run: Run) -> None:
    shutil.copytree(ROOT / "reports/templates", project / "reports/templates")
    shutil.copy(ROOT / "reports/notes.md", project / "reports")
    before = {path for path in project.iterdir() if path.is_file()}
    fill(project)
    code, output = run(project, *arguments)
    assert (code, output.splitlines()[-1]) == (1, f"Error: {file}: {MESSAGE}")
    assert {path for path in project.iterdir() if path.is_file()} - before == {project / "filler"}  # no partial file


def test_promote_and_sync_name_the_store_on_a_full_disk(project: Path, run: Run) -> None:
    fill(project)
    code, output = run(project, "promote")
    assert (code, f"Error: {project}/mlflow.db: {STORE_MESSAGE}" in output) == (1, True)
    code, output = run(project, "sync", "--tracking-uri", f"sqlite:///{project}/new.db")
    assert (code, f"Error: {project}/new.db: {STORE_MESSAGE} No run was uploaded;" in output) == (1, True)
    assert not list(project.glob("new.db.partial*"))


def test_train_continues_while_the_store_is_full(disk: Path, project: Path, tmp_path: Path, run: Run) -> None:
    """The store is on the full disk, the run folders on another one."""
    elsewhere = Path(shutil.copytree(project, tmp_path / "elsewhere"))
    store = disk / "store" / "mlflow.db"
    store.parent.mkdir()
    shutil.move(project / "mlflow.db", store)
    text = (elsewhere / "params.yaml").read_text(encoding="utf-8")
    changed = text.replace("uri: null", f"uri: sqlite:///{store}").replace("uri:\n", f"uri: sqlite:///{store}\n")
    assert changed != text
    (elsewhere / "params.yaml").write_text(changed.replace("seed: [0]", "seed: [1]"), encoding="utf-8")
    fill(disk)
    code, output = run(elsewhere, *TRAIN)
    assert code == 0
    assert (elsewhere / RUNS / "unet-0.01-1" / RunFolder.RECORD).exists()
    (warning,) = [line for line in output.splitlines() if "MLflow at" in line]
    assert warning.startswith("Run unet-0.01-1: MLflow at sqlite:///")
    assert "fails (database or disk is full). Training continues" in warning
    (disk / "project/filler").unlink(missing_ok=True)
    (disk / "filler").unlink()
    code, output = run(elsewhere, "sync")
    assert (code, "1 run, 1 of them new" in output) == (0, True)
    with sqlite3.connect(store) as opened:
        assert ("unet-0.01-1", "FINISHED") in opened.execute("SELECT name, status FROM runs").fetchall()
    opened.close()


def test_train_without_space_for_checkpoints_names_the_run(project: Path, run: Run) -> None:
    text = (project / "params.yaml").read_text(encoding="utf-8")
    (project / "params.yaml").write_text(text.replace("seed: [0]", "seed: [1]"), encoding="utf-8")
    fill(project, leave=100_000)
    code, output = run(project, *TRAIN)
    warning = next(line for line in output.splitlines() if "checkpoint" in line)
    assert "unet-0.01-1" in warning
    assert "without a checkpoint" in warning
    assert "No space left on device" in warning
    assert code in (0, 1)
    assert code == 0 or output.splitlines()[-1] == f"Error: runs/unet-0.01-1: {MESSAGE}"
