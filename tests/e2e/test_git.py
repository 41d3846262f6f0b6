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


def lock(project: Project) -> bytes:
    return (project.root / "dvc.lock").read_bytes()


def test_clones_that_train_the_same_have_equal_lock_files(origin: Project) -> None:
    other = clone(origin, "other")
    origin.run("pipeline", "sweep", "--workers", "2")
    origin.repro()
    other.repro()
    assert lock(other) == lock(origin)
    # DVC appends new entries, and compare sorts them.
    for project in (origin, other):
        project.change(grid={"variant": ["unet"], "seed": [0, 1]})
    origin.run("pipeline", "sweep", "--workers", "1")
    origin.repro()
    other.repro()
    assert lock(other) == lock(origin)
    assert (origin.root / "runs/unet-0.01-0/timing.json").read_bytes() != (
        other.root / "runs/unet-0.01-0/timing.json"
    ).read_bytes()


def test_a_merge_trains_nothing_that_either_side_trained(origin: Project) -> None:
    """Each clone has pulled the base, so that DVC's run cache of neither knows of it."""
    grid = {"variant": ["unet"]}
    origin.change(grid=grid)
    origin.run("pipeline", "sweep")
    origin.repro()
    commit(origin, "base")
    origin.run("dvc", "push")
    mine = clone(origin, "mine")
    mine.run("dvc", "pull")
    for project, rate in ((origin, 0.003), (mine, 0.002)):
        project.change(grid={**grid, "learning_rate": [0.01, rate]})
        project.run("pipeline", "sweep")
        project.repro()
        commit(project, f"rate {rate}")
    origin.run("dvc", "push")
    mine.run(*GIT, "pull", "--quiet", "--no-rebase", code=1)
    assert "git could not merge lines" in mine.run("pipeline", "sweep", code=1)
    mine.change(grid={**grid, "learning_rate": [0.01, 0.002, 0.003]})
    said = mine.run("pipeline", "sweep")
    assert (
        "dvc.lock had a merge conflict: kept 7 entries of both sides; dropped 3 that differ (compare, showcase, "
        "report); fetched 2 from DVC's remote\n"
    ) in said
    assert "3 runs: 1 restored, 2 up to date\n" in said
    assert mine.repro() == ["compare", "showcase", "report"]
    assert mine.stale() == set()
    assert set(mine.read("metrics.json")) >= {"unet-0.01", "unet-0.002", "unet-0.003"}  # it had markers too


def test_a_removed_rate_leaves_nothing_that_a_clone_lacks(origin: Project) -> None:
    one_rate, two_rates = ({"variant": ["unet"], "learning_rate": rates} for rates in ([0.01], [0.01, 0.003]))
    origin.change(grid=two_rates)
    origin.run("pipeline", "sweep")
    origin.repro()
    origin.change(grid=one_rate)
    assert "moved to .cache/outside_grid/: unet-0.003-0\n" in origin.run("pipeline", "sweep")
    origin.repro()
    assert origin.stale() == set()
    assert b"unet-0.003-0" not in lock(origin)
    commit(origin, "one rate less")
    origin.run("dvc", "push")
    pulled = clone(origin, "pulled")
    pulled.run("dvc", "pull")
    assert pulled.stale() == set()
    assert pulled.repro() == []

    origin.change(grid=two_rates)
    assert "2 runs: 1 restored, 1 up to date" in origin.run("pipeline", "sweep")
    origin.change(grid=one_rate)
    assert origin.repro() == ["compare"]  # it moves the folders, and then nothing is new
    assert origin.stale() == set()
    assert lock(origin) == lock(pulled)
