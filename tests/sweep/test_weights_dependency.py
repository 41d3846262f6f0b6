"""A change in `weights/` trains only the runs whose key it changes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from dvc.repo import Repo

from pipeline.artifacts.project import Project
from pipeline.params import Params
from pipeline.sweep.ray_runner import copy_weights
from pipeline.sweep.worker import Job
from tests.sweep.conftest import SmallProject

RUNS = ["a", "b"]


@pytest.fixture
def project(small: SmallProject) -> SmallProject:
    """A finished project whose trainings depend on `weights/`."""
    Path("weights").mkdir()
    Path("weights/file.pth").write_text("first")
    dvc_file = Path("dvc.yaml")
    dvc_file.write_text(dvc_file.read_text(encoding="utf-8").replace("- code.txt", "- code.txt\n      - weights"))
    small.repro()
    return small


def test_changed_weights_train_only_runs_that_are_not_current(project: SmallProject) -> None:
    assert project.load_stages().find_stale(RUNS) == ([], [])
    Path("weights/file.pth").write_text("second")
    assert project.load_stages().find_stale(RUNS) == (RUNS, RUNS)
    stages = project.load_stages()
    assert stages.find_stale(RUNS, lambda run: run == "b") == (["a"], ["a"])
    stages.update_lock()
    with Repo() as repo:
        assert set(repo.status()) == {"train@a"}


def test_copy_weights_copies_only_the_files_of_the_jobs(
    params_with: Callable[[dict[str, Any]], Params], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("weights/deep").mkdir(parents=True)
    for name in ("hub.json", "deep/used.pth", "unused.pth"):
        Path("weights", name).write_text(name)
    params = params_with({"variants": {"unet": {"model": {"pretrained": "weights/deep/used.pth"}}}})
    copy_weights([Job(params.cell("unet", 0.01, 0), "", None)], Project(), tmp_path / "code")
    copied = [path for path in (tmp_path / "code").rglob("*") if path.is_file()]
    assert {path.relative_to(tmp_path / "code").as_posix() for path in copied} == {
        "weights/hub.json", "weights/deep/used.pth",
    }  # fmt: skip


def test_other_changes_train_current_runs_too(project: SmallProject) -> None:
    Path("weights/file.pth").write_text("second")
    Path("code.txt").write_text("other code")
    assert project.load_stages().find_stale(RUNS, lambda _: True) == (RUNS, RUNS)
