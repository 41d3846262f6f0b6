"""Two clones of one project, with git and a DVC remote between them."""

from __future__ import annotations

import pytest

from tests.e2e.conftest import Project, copy_project
from tests.preloaded import PreloadedCommands

pytestmark = pytest.mark.slow
GIT = ("git", "-c", "user.name=a", "-c", "user.email=a@b.c")


def commit(project: Project, message: str) -> None:
    project.run("git", "add", "--all")
    project.run(*GIT, "commit", "--quiet", "--message", message)


def clone(project: Project, name: str) -> Project:
    """Clone the last commit, which configures DVC's remote."""
    project.run("git", "clone", "--quiet", ".", f"../{name}")
    return Project(project.root.parent / name, project.commands)


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory, commands: PreloadedCommands) -> Project:
    """A project with a DVC remote, committed before anything was trained."""
    folder = tmp_path_factory.mktemp("git")
    project = copy_project(folder / "origin", commands)
    project.run("git", "init", "--quiet", "--initial-branch", "main")
    project.run("dvc", "remote", "add", "--default", "shared", str(folder / "remote"))
    commit(project, "start")
    return project


def read_lock(project: Project) -> bytes:
    return (project.root / "dvc.lock").read_bytes()


def test_clones_that_train_the_same_have_equal_lock_files(origin: Project) -> None:
    other = clone(origin, "other")
    origin.run("pipeline", "sweep", "--workers", "2")
    origin.repro()
    other.repro()
    assert read_lock(other) == read_lock(origin)
    # DVC appends new entries, and compare sorts them.
    for project in (origin, other):
        project.change(grid={"variant": ["unet"], "seed": [0, 1]})
    origin.run("pipeline", "sweep", "--workers", "1")
    origin.repro()
    other.repro()
    assert read_lock(other) == read_lock(origin)
    assert (origin.root / "runs/unet-0.01-0/timing.json").read_bytes() != (
        other.root / "runs/unet-0.01-0/timing.json"
    ).read_bytes()


def test_sweep_after_a_merge_trains_no_run_of_either_side_again(origin: Project) -> None:
    """Runs that the clone pulls are not in its run cache."""
    grid = {"variant": ["unet"]}
    origin.change(grid=grid)
    origin.run("pipeline", "sweep")
    origin.repro()
    commit(origin, "base")
    origin.run("dvc", "push")
    mine = clone(origin, "mine")
    mine.run("dvc", "pull")
    for project, learning_rate in ((origin, 0.003), (mine, 0.002)):
        project.change(grid={**grid, "learning_rate": [0.01, learning_rate]})
        project.run("pipeline", "sweep")
        project.repro()
        commit(project, f"learning rate {learning_rate}")
    origin.run("dvc", "push")
    mine.run(*GIT, "pull", "--quiet", "--no-rebase", code=1)
    assert "git could not merge lines" in mine.run("pipeline", "sweep", code=1)
    mine.change(grid={**grid, "learning_rate": [0.01, 0.002, 0.003]})
    output = mine.run("pipeline", "sweep")
    assert (
        "dvc.lock had a merge conflict: kept 7 entries from both sides; dropped 4 that differ (compare, showcase, "
        "ensemble, report); fetched the outputs of 2 stages from DVC's remote\n"
    ) in output
    assert "3 runs: 1 restored, 2 up to date\n" in output
    assert mine.repro() == ["compare", "showcase", "ensemble", "report"]
    assert mine.find_stale_stages() == set()
    # metrics.json had conflict markers, too.
    assert mine.read("metrics.json").keys() == {"best"}
    settings = (mine.root / "comparison/settings.csv").read_text(encoding="utf-8")
    assert all(f"\nunet,{rate}," in settings for rate in ("0.01", "0.002", "0.003"))


def test_removed_learning_rate_leaves_no_entries_in_the_lock_file(origin: Project) -> None:
    small_grid, large_grid = (
        {"variant": ["unet"], "learning_rate": learning_rates} for learning_rates in ([0.01], [0.01, 0.003])
    )
    origin.change(grid=large_grid)
    origin.run("pipeline", "sweep")
    origin.repro()
    origin.change(grid=small_grid)
    assert "moved to .cache/outside_grid/: unet-0.003-0\n" in origin.run("pipeline", "sweep")
    origin.repro()
    assert origin.find_stale_stages() == set()
    assert b"unet-0.003-0" not in read_lock(origin)
    commit(origin, "remove a learning rate")
    origin.run("dvc", "push")
    pulled = clone(origin, "pulled")
    pulled.run("dvc", "pull")
    assert pulled.find_stale_stages() == set()
    assert pulled.repro() == []

    origin.change(grid=large_grid)
    assert "2 runs: 1 restored, 1 up to date" in origin.run("pipeline", "sweep")
    origin.change(grid=small_grid)
    assert origin.repro() == ["compare"]  # it moves the folders; nothing else changes
    assert origin.find_stale_stages() == set()
    assert read_lock(origin) == read_lock(pulled)
