"""Folders of runs outside the grid are moved out of DVC's outputs, and back when their cell returns."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.artifacts.evaluation_folder import EvaluationFolder
from pipeline.artifacts.project import EVALUATION, RUNS
from pipeline.artifacts.run_folder import RunFolder
from pipeline.sweep.outside_grid import FOLDER, move_outside_grid

IN_GRID, OUTSIDE = "unet-0.01-0", "unet-0.5-0"


def write_run(root: Path, name: str, content: str) -> None:
    for part, record in ((RUNS, RunFolder.RECORD), (EVALUATION, EvaluationFolder.METRICS)):
        (root / part / name).mkdir(parents=True)
        (root / part / name / record).write_text(content)


def read_files(root: Path) -> dict[str, str]:
    files = [path for part in (RUNS, EVALUATION) for path in (root / part).rglob("*") if path.is_file()]
    return {path.relative_to(root).as_posix(): path.read_text() for path in files}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_run(tmp_path, IN_GRID, "kept")
    write_run(tmp_path, OUTSIDE, "old")
    return tmp_path


def test_run_is_moved_out_of_the_grid_and_back(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = read_files(root)
    move_outside_grid([IN_GRID], root)
    assert read_files(root) == {path: text for path, text in before.items() if OUTSIDE not in path}
    assert capsys.readouterr().err == f"Runs that are no longer in the grid were moved to {FOLDER}/: {OUTSIDE}\n"
    move_outside_grid([IN_GRID, OUTSIDE], root)
    assert read_files(root) == before
    assert capsys.readouterr().err == f"Runs that are in the grid again were moved back from {FOLDER}/: {OUTSIDE}\n"
    move_outside_grid([IN_GRID, OUTSIDE], root)
    assert capsys.readouterr().err == ""


def test_older_folder_of_the_same_run_is_replaced(root: Path) -> None:
    move_outside_grid([IN_GRID], root)
    write_run(root, OUTSIDE, "new")
    move_outside_grid([IN_GRID], root)
    assert set(read_files(root / FOLDER).values()) == {"new"}


def test_existing_run_is_not_replaced(root: Path) -> None:
    move_outside_grid([IN_GRID], root)
    write_run(root, OUTSIDE, "restored by DVC")
    move_outside_grid([IN_GRID, OUTSIDE], root)
    assert read_files(root)[f"runs/{OUTSIDE}/run.json"] == "restored by DVC"


@pytest.mark.parametrize("name", [".unet-0.5-0-12-abc", "notes"])
def test_folder_that_is_not_a_run_is_not_moved(root: Path, name: str) -> None:
    folder = root / RUNS / name
    folder.mkdir()
    (folder / (RunFolder.RECORD if name.startswith(".") else "notes.txt")).touch()
    move_outside_grid([IN_GRID], root)
    assert folder.exists()
