"""A study with the real commands: its own results, its project's code, and nothing of either runs twice."""

from __future__ import annotations

import hashlib
import re
import shutil
import sqlite3
from pathlib import Path

import pytest

from pipeline.sweep.dvc_internals.stages import DvcStages
from tests.e2e.conftest import Project, copy_project
from tests.preloaded import PreloadedCommands

MINE = """
variants:
  plain: {}
  mine:
    model: {family: custom, import_path: custom.my_net:build, size_multiple: 1}
grid: {variant: [plain, mine], learning_rate: [0.01], seed: [0]}
report: {title: "Is it mine?"}
"""
NETWORK = """
from torch import nn

def build(channels, classes):
    return nn.Conv2d(channels, classes, kernel_size=3, padding=1)
"""
MADE = ("params.yaml", "dvc.lock", "metrics.json", "comparison/summary.json", "reports/learning-report.html")


class Folder(Project):
    """A study's folder, whose code is the project's."""

    def environment(self) -> dict[str, str]:
        return {**super().environment(), "PYTHONPATH": str(self.root.parents[1])}


def make_report(project: Project, *variables: str, code: int = 0) -> str:
    # -o: the environment of these tests is installed already.
    return project.run("make", "--no-print-directory", "-o", ".venv/installed", "report", *variables, code=code)


def trained(said: str) -> int:
    found = re.search(r"(\d+) runs? to do", said)
    return int(found[1]) if found else 0


def contents(project: Project) -> list[str]:
    return [hashlib.sha256((project.root / name).read_bytes()).hexdigest() for name in MADE]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, commands: PreloadedCommands, store: Path) -> Project:
    """A project whose own grid, of one run, is reproduced, and that has a parameter set of the user's."""
    project = copy_project(tmp_path_factory.mktemp("studies") / "müller's project (1) & more", commands)
    shutil.copy(store, project.root / "mlflow.db")
    project.change(grid={"variant": ["unet"]})
    project.run("git", "init", "--quiet")
    for name, text in {
        "params/tiny.yaml": MINE,
        "params/tiny.md": "My own words.",
        "custom/my_net.py": NETWORK,
    }.items():
        (project.root / name).write_text(text, encoding="utf-8")
    make_report(project)
    project.run("git", "add", "--all")
    project.run("git", "-c", "user.name=a", "-c", "user.email=a@b.c", "commit", "--quiet", "--message", "start")
    return project


@pytest.fixture(scope="module")
def study(project: Project) -> Folder:
    """The study, run; tests change it and leave it reproduced."""
    before = contents(project)
    said = make_report(project, "SET=tiny")
    assert trained(said) == 2
    assert f"The report: {(project.root / 'studies/tiny/reports/learning-report.html').as_uri()}" in said
    assert contents(project) == before
    return Folder(project.root / "studies/tiny", project.commands)


def test_the_report_has_the_sets_words_and_the_studys_commands(study: Folder) -> None:
    page = (study.root / "reports/learning-report.html").read_text(encoding="utf-8")
    assert "Is it mine?" in page
    assert "My own words." in page
    assert "make report SET=tiny<" in page
    assert re.search(r"cd studies/tiny &amp;&amp; dvc repro train@(plain|mine)-0.01-0", page)


def test_mlflow_has_one_store_and_an_experiment_a_study(project: Project, study: Folder) -> None:
    with sqlite3.connect(project.root / "mlflow.db") as store:
        query = "SELECT e.name, r.name FROM runs r JOIN experiments e USING (experiment_id)"
        found = set(store.execute(query).fetchall())
    store.close()
    grids = sorted(experiment for experiment, name in found if name.startswith("grid-"))
    runs = {(experiment, name) for experiment, name in found if not name.startswith("grid-")}
    assert runs == {("learning-report", "unet-0.01-0"), ("tiny", "plain-0.01-0"), ("tiny", "mine-0.01-0")}
    assert grids == ["learning-report", "tiny"]  # what each came to
    assert not list(study.root.glob("mlflow*")) and not list(study.root.glob("mlruns"))


def test_nothing_is_stale_and_nothing_is_done_twice(project: Project, study: Folder) -> None:
    failure = study.root / "reports/failure.html"  # of a start that was refused while another one was at work
    failure.write_text("Another sweep of this folder is running", encoding="utf-8")
    assert trained(make_report(project, "SET=tiny")) == 0
    assert not failure.exists()
    assert study.repro() == []
    assert project.stale() == set()  # names the stages of all dvc.yaml


def test_git_sees_what_is_worth_keeping_and_nothing_else(project: Project, study: Folder) -> None:
    said = project.run("git", "status", "--porcelain", "--untracked-files=all").splitlines()
    kept = ("dvc.lock", "dvc.yaml", "metrics.json", "params.yaml")
    assert said == [f"?? studies/tiny/{name}" for name in kept]


def test_an_edited_set_trains_what_it_touches_and_the_top_stays_as_it_is(project: Project, study: Folder) -> None:
    overlay = project.root / "params/tiny.yaml"
    overlay.write_text(MINE.replace("size_multiple: 1", "size_multiple: 2"), encoding="utf-8")
    project.run("pipeline", "study", "tiny")
    assert study.stale() == {"train@mine-0.01-0"}
    assert DvcStages(study.root).find_stale(["mine-0.01-0"]) == (["mine-0.01-0"], ["mine-0.01-0"])
    assert DvcStages(project.root).find_stale(["unet-0.01-0"]) == ([], [])
    assert trained(make_report(project, "SET=tiny")) == 1
    assert project.stale() == set()


def test_an_edited_network_of_the_project_is_retrained_and_a_variant_without_it_is_not(
    project: Project, study: Folder
) -> None:
    module = project.root / "custom/my_net.py"
    module.write_text(NETWORK.replace("kernel_size=3, padding=1", "kernel_size=1"), encoding="utf-8")
    # For DVC, which cannot make a dependency depend on the variant, all are stale.
    assert {f"studies/tiny/dvc.yaml:train@{name}-0.01-0" for name in ("mine", "plain")} < project.stale()
    plain = (study.root / "runs/plain-0.01-0/run.json").stat().st_mtime_ns
    said = study.run("pipeline", "sweep")
    assert trained(said) == 1
    assert "mine-0.01-0  trained" in said
    assert (study.root / "runs/plain-0.01-0/run.json").stat().st_mtime_ns == plain
    module.write_text(NETWORK, encoding="utf-8")
    assert "1 restored, 1 up to date" in study.run("pipeline", "sweep")
    assert study.stale() == set()


def test_data_from_elsewhere_is_named_on_the_command_line(project: Project, study: Folder, tmp_path: Path) -> None:
    shutil.copytree(project.root / "data/sample", tmp_path / "sample")
    project.run("pipeline", "study", "tiny", "--data", str(tmp_path / "sample"))
    assert study.repro() == ["prepare", "showcase", "report"]  # the same pictures, so the same arrays
    assert "SET=tiny DATA=folder" in (study.root / "reports/learning-report.html").read_text(encoding="utf-8")
    assert study.stale() == set()


def test_mistakes_at_make(project: Project) -> None:
    assert "did you mean tiny?" in make_report(project, "SET=tinny", code=2)
    assert "nowhere does not exist" in make_report(project, "SET=tiny", "DATA=nowhere", code=2)
    assert "needs a SET=" in make_report(project, "DATA=nowhere", code=2)
