"""A disk that fills up, on a file system of its own: a sentence names the file and the remedy, never a traceback."""

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

SENTENCE = "the disk is full. Free some space, then run the same command again."
STORE_SENTENCE = (
    "SQLite cannot use this MLflow store: database or disk is full. Free some space, then run the same command again."
)
Run = Callable[..., tuple[int, str]]
TRAIN = ("train", "--variant", "unet", "--learning-rate", "0.01", "--seed", "1")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """An empty file system of 40 MB."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=40m", "tmpfs", place], capture_output=True, check=False)
    if mount.returncode:
        pytest.skip("mounting a file system takes root")
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=True)


@pytest.fixture
def project(disk: Path, trained: Path) -> Path:
    """A trained project on that disk."""
    copy = Path(shutil.copytree(trained, disk / "project"))
    (copy / "data/sample").symlink_to(ROOT / "data/sample")
    return copy


def fill(folder: Path, leave: int = 0) -> None:
    """Fill the disk that a folder is on, and leave some bytes."""
    with (folder / "filler").open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            file.truncate(max(0, file.tell() - leave))


@pytest.fixture
def run(commands: PreloadedCommands) -> Run:
    """Run a command of the pipeline in a folder; return its exit code and everything it printed."""

    def run(folder: Path, *arguments: str) -> tuple[int, str]:
        left_out = ("MLFLOW_TRACKING_URI", "DVC_ROOT")
        kept = {key: value for key, value in os.environ.items() if key not in left_out}
        done = commands.run("pipeline", *arguments, folder=folder, environment={**kept, "PYTHONPATH": str(ROOT)})
        said = done.stdout + done.stderr
        assert "Traceback" not in said
        assert "[SQL" not in said
        return done.returncode, said

    return run


@pytest.mark.parametrize(
    ("arguments", "file"),
    [
        (("prepare",), "data/prepared"),
        (("evaluate", TRAINED), f"evaluation/{TRAINED}"),
        (("compare",), "comparison"),
        (("report", "--out", "mine.html"), "mine.html"),
        (("predict", str(ROOT / "data/sample/backgrounds/corn_maze.jpg")), "predictions/masks/corn_maze.png"),
        (("judge", f"runs/{TRAINED}/history.csv", "--plot", "curves.png"), "curves.png"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_a_full_disk_is_reported_with_the_file(project: Path, arguments: tuple[str, ...], file: str, run: Run) -> None:
    shutil.copytree(ROOT / "reports/templates", project / "reports/templates")
    shutil.copy(ROOT / "reports/notes.md", project / "reports")
    before = {path for path in project.iterdir() if path.is_file()}
    fill(project)
    code, said = run(project, *arguments)
    assert (code, said.splitlines()[-1]) == (1, f"Error: {file}: {SENTENCE}")
    assert {path for path in project.iterdir() if path.is_file()} - before == {project / "filler"}  # no half a file


def test_commands_that_write_to_mlflow_name_the_full_store(project: Path, run: Run) -> None:
    fill(project)
    code, said = run(project, "promote")
    assert (code, f"Error: {project}/mlflow.db: {STORE_SENTENCE}" in said) == (1, True)
    code, said = run(project, "sync", "--tracking-uri", f"sqlite:///{project}/new.db")
    assert (code, f"Error: {project}/new.db: {STORE_SENTENCE} No run was uploaded;" in said) == (1, True)
    assert not list(project.glob("new.db.partial*"))


def test_a_training_goes_on_while_the_store_is_full(disk: Path, project: Path, tmp_path: Path, run: Run) -> None:
    """The store is on the full disk, the run folders are on another one."""
    elsewhere = Path(shutil.copytree(project, tmp_path / "elsewhere"))
    store = disk / "store" / "mlflow.db"
    store.parent.mkdir()
    shutil.move(project / "mlflow.db", store)
    text = (elsewhere / "params.yaml").read_text(encoding="utf-8")
    changed = text.replace("uri: null", f"uri: sqlite:///{store}").replace("uri:\n", f"uri: sqlite:///{store}\n")
    assert changed != text
    (elsewhere / "params.yaml").write_text(changed.replace("seed: [0]", "seed: [1]"), encoding="utf-8")
    fill(disk)
    code, said = run(elsewhere, *TRAIN)
    assert code == 0
    assert (elsewhere / RUNS / "unet-0.01-1" / RunFolder.RECORD).exists()
    (warning,) = [line for line in said.splitlines() if "MLflow at" in line]
    assert warning.startswith("Run unet-0.01-1: MLflow at sqlite:///")
    assert "fails (database or disk is full). Training continues" in warning
    (disk / "project/filler").unlink(missing_ok=True)
    (disk / "filler").unlink()
    code, said = run(elsewhere, "sync")
    assert (code, "1 run, 1 of them new" in said) == (0, True)
    with sqlite3.connect(store) as opened:
        assert ("unet-0.01-1", "FINISHED") in opened.execute("SELECT name, status FROM runs").fetchall()
    opened.close()


def test_a_training_without_room_for_its_checkpoints_names_the_run(project: Path, run: Run) -> None:
    text = (project / "params.yaml").read_text(encoding="utf-8")
    (project / "params.yaml").write_text(text.replace("seed: [0]", "seed: [1]"), encoding="utf-8")
    fill(project, leave=100_000)
    code, said = run(project, *TRAIN)
    warning = next(line for line in said.splitlines() if "checkpoint" in line)
    assert "unet-0.01-1" in warning
    assert "without a checkpoint" in warning
    assert "No space left on device" in warning
    assert code in (0, 1)
    assert code == 0 or said.splitlines()[-1] == f"Error: runs/unet-0.01-1: {SENTENCE}"
