"""Folders of runs outside the grid are moved out of what DVC hashes, and return with their cell."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.artifacts.evaluation_folder import EvaluationFolder
from pipeline.artifacts.project import EVALUATION, RUNS
from pipeline.artifacts.run_folder import RunFolder
from pipeline.sweep.outside_grid import FOLDER, move_outside_grid

KEPT, LEFT = "unet-0.01-0", "unet-0.5-0"


def write(root: Path, name: str, content: str) -> None:
    for part, record in ((RUNS, RunFolder.RECORD), (EVALUATION, EvaluationFolder.METRICS)):
        (root / part / name).mkdir(parents=True)
        (root / part / name / record).write_text(content)


def contents(root: Path) -> dict[str, str]:
    files = [path for part in (RUNS, EVALUATION) for path in (root / part).rglob("*") if path.is_file()]
    return {path.relative_to(root).as_posix(): path.read_text() for path in files}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write(tmp_path, KEPT, "kept")
    write(tmp_path, LEFT, "old")
    return tmp_path


def test_run_that_leaves_and_returns_is_moved_there_and_back(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = contents(root)
    move_outside_grid([KEPT], root)
    assert contents(root) == {path: text for path, text in before.items() if LEFT not in path}
    assert capsys.readouterr().err == f"No longer in the grid, so moved to {FOLDER}/: {LEFT}\n"
    move_outside_grid([KEPT, LEFT], root)
    assert contents(root) == before
    assert capsys.readouterr().err == f"In the grid again, so moved back from {FOLDER}/: {LEFT}\n"
    move_outside_grid([KEPT, LEFT], root)
    assert capsys.readouterr().err == ""


def test_older_folder_of_the_same_run_is_replaced(root: Path) -> None:
    move_outside_grid([KEPT], root)
    write(root, LEFT, "new")
    move_outside_grid([KEPT], root)
    assert set(contents(root / FOLDER).values()) == {"new"}


def test_existing_run_is_not_replaced(root: Path) -> None:
    move_outside_grid([KEPT], root)
    write(root, LEFT, "restored by DVC")
    move_outside_grid([KEPT, LEFT], root)
    assert contents(root)[f"runs/{LEFT}/run.json"] == "restored by DVC"


@pytest.mark.parametrize("name", [".unet-0.5-0-12-abc", "notes"])
def test_folder_that_is_not_a_run_stays(root: Path, name: str) -> None:
    folder = root / RUNS / name
    folder.mkdir()
    (folder / (RunFolder.RECORD if name.startswith(".") else "notes.txt")).touch()
    move_outside_grid([KEPT], root)
    assert folder.exists()
