"""Standard tags of runs: git commit, stage, data fingerprint and grid."""

import subprocess
from pathlib import Path

import pytest

from pipeline.params import Grid
from pipeline.tracking.tags import create_standard_tags, hash_grid, read_git_commit

GRID = Grid(variant=["unet"], learning_rate=[1e-3, 1e-4], seed=[0, 1])


def _run_git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    command = ["git", "-C", str(folder), *identity, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def repository(bare_project: Path) -> Path:
    _run_git(bare_project, "init", "--quiet")
    for name in ("train.py", "dvc.lock"):
        (bare_project / name).write_text("1")
    _run_git(bare_project, "add", ".")
    _run_git(bare_project, "commit", "--quiet", "--message", "first")
    return bare_project


def test_git_commit_is_dirty_only_for_tracked_changes(repository: Path) -> None:
    commit = _run_git(repository, "rev-parse", "HEAD")
    (repository / "new.txt").write_text("not tracked")
    (repository / "dvc.lock").write_text("DVC writes this after each stage")
    assert read_git_commit(repository) == commit
    (repository / "train.py").write_text("2")
    assert read_git_commit(repository) == f"{commit}-dirty"
    (repository / "sub").mkdir()
    assert read_git_commit(repository / "sub") == f"{commit}-dirty"


def test_git_commit_without_repository_or_git_is_unknown(
    bare_project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert read_git_commit(tmp_path / "missing") == "unknown"
    monkeypatch.setenv("PATH", str(tmp_path))
    tags = create_standard_tags("train", "f00", GRID)
    assert tags["pipeline.git_commit"] == "unknown"
    assert "mlflow.source.git.commit" not in tags


def test_create_standard_tags(repository: Path) -> None:
    tags = create_standard_tags("train", "f00", GRID)
    assert tags["pipeline.stage"] == "train"
    assert tags["pipeline.data_fingerprint"] == "f00"
    assert tags["pipeline.git_commit"] == tags["mlflow.source.git.commit"] == _run_git(repository, "rev-parse", "HEAD")
    assert tags["mlflow.source.name"] == "pipeline train"
    assert tags["mlflow.user"]


def test_hash_grid_depends_only_on_the_grid() -> None:
    assert hash_grid(GRID) == hash_grid(Grid(**GRID.model_dump())) == "1f4a63dc2260"
    assert hash_grid(GRID) != hash_grid(GRID.model_copy(update={"seed": [0]}))
