"""A study with the real commands: results of its own, the code of its project, and no run that is trained twice."""

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

PRESET = """
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
OUTPUTS = ("params.yaml", "dvc.lock", "metrics.json", "comparison/summary.json", "reports/learning-report.html")


class StudyProject(Project):
    """A study's folder, which uses the code of its project."""

    def environment(self) -> dict[str, str]:
        return {**super().environment(), "PYTHONPATH": str(self.root.parents[1])}


def make_report(project: Project, *variables: str, code: int = 0) -> str:
    # -o: the environment is installed already.
    return project.run("make", "--no-print-directory", "-o", ".venv/installed", "report", *variables, code=code)


def parse_num_runs(output: str) -> int:
    match = re.search(r"(\d+) runs? to do", output)
    return int(match[1]) if match else 0


def hash_outputs(project: Project) -> list[str]:
    return [hashlib.sha256((project.root / name).read_bytes()).hexdigest() for name in OUTPUTS]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, commands: PreloadedCommands, store: Path) -> Project:
    """A project with a reproduced grid of one run, and with a preset of the user."""
    project = copy_project(tmp_path_factory.mktemp("studies") / "müller's project (1) & more", commands)
    shutil.copy(store, project.root / "mlflow.db")
    project.change(grid={"variant": ["unet"]})
    project.run("git", "init", "--quiet")
    for name, text in {
        "params/tiny.yaml": PRESET,
        "params/tiny.md": "My own words.",
        "custom/my_net.py": NETWORK,
    }.items():
        (project.root / name).write_text(text, encoding="utf-8")
    make_report(project)
    project.run("git", "add", "--all")
    project.run("git", "-c", "user.name=a", "-c", "user.email=a@b.c", "commit", "--quiet", "--message", "start")
    return project


@pytest.fixture(scope="module")
def study(project: Project) -> StudyProject:
    """The study after `make report`; tests that change it reproduce it."""
    before = hash_outputs(project)
    output = make_report(project, "SET=tiny")
    assert parse_num_runs(output) == 2
    assert f"The report: {(project.root / 'studies/tiny/reports/learning-report.html').as_uri()}" in output
    assert hash_outputs(project) == before
    return StudyProject(project.root / "studies/tiny", project.commands)


def test_report_has_the_notes_of_the_preset_and_the_commands_of_the_study(study: StudyProject) -> None:
    page = (study.root / "reports/learning-report.html").read_text(encoding="utf-8")
    assert "Is it mine?" in page
    assert "My own words." in page
    assert "make report SET=tiny<" in page
    assert re.search(r"cd studies/tiny &amp;&amp; dvc repro train@(plain|mine)-0.01-0", page)


def test_mlflow_has_one_store_with_one_experiment_per_study(project: Project, study: StudyProject) -> None:
    with sqlite3.connect(project.root / "mlflow.db") as store:
        query = "SELECT e.name, r.name FROM runs r JOIN experiments e USING (experiment_id)"
        rows = set(store.execute(query).fetchall())
    store.close()
    grids = sorted(experiment for experiment, name in rows if name.startswith("grid-"))
    runs = {(experiment, name) for experiment, name in rows if not name.startswith("grid-")}
    assert runs == {("learning-report", "unet-0.01-0"), ("tiny", "plain-0.01-0"), ("tiny", "mine-0.01-0")}
    assert grids == ["learning-report", "tiny"]  # the summary runs
    assert not list(study.root.glob("mlflow*")) and not list(study.root.glob("mlruns"))


def test_make_report_again_runs_nothing_and_removes_an_old_failure_page(project: Project, study: StudyProject) -> None:
    failure = study.root / "reports/failure.html"  # of a command that was refused during another sweep
    failure.write_text("Another sweep of this folder is running", encoding="utf-8")
    assert parse_num_runs(make_report(project, "SET=tiny")) == 0
    assert not failure.exists()
    assert study.repro() == []
    assert project.find_stale_stages() == set()  # includes the stages of every dvc.yaml


def test_git_sees_only_the_files_of_a_study_to_commit(project: Project, study: StudyProject) -> None:
    lines = project.run("git", "status", "--porcelain", "--untracked-files=all").splitlines()
    files = ("dvc.lock", "dvc.yaml", "metrics.json", "params.yaml")
    assert lines == [f"?? studies/tiny/{name}" for name in files]


def test_edited_preset_trains_only_its_changed_variant(project: Project, study: StudyProject) -> None:
    preset = project.root / "params/tiny.yaml"
    preset.write_text(PRESET.replace("size_multiple: 1", "size_multiple: 2"), encoding="utf-8")
    project.run("pipeline", "study", "tiny")
    assert study.find_stale_stages() == {"train@mine-0.01-0"}
    assert DvcStages(study.root).find_stale(["mine-0.01-0"]) == (["mine-0.01-0"], ["mine-0.01-0"])
    assert DvcStages(project.root).find_stale(["unet-0.01-0"]) == ([], [])
    assert parse_num_runs(make_report(project, "SET=tiny")) == 1
    assert project.find_stale_stages() == set()


def test_edited_custom_network_trains_only_the_variant_that_uses_it(project: Project, study: StudyProject) -> None:
    module = project.root / "custom/my_net.py"
    module.write_text(NETWORK.replace("kernel_size=3, padding=1", "kernel_size=1"), encoding="utf-8")
    # DVC reports all as stale, because a dependency cannot depend on the variant.
    assert {f"studies/tiny/dvc.yaml:train@{name}-0.01-0" for name in ("mine", "plain")} < project.find_stale_stages()
    plain = (study.root / "runs/plain-0.01-0/run.json").stat().st_mtime_ns
    output = study.run("pipeline", "sweep")
    assert parse_num_runs(output) == 1
    assert "mine-0.01-0  trained" in output
    assert (study.root / "runs/plain-0.01-0/run.json").stat().st_mtime_ns == plain
    module.write_text(NETWORK, encoding="utf-8")
    assert "1 restored, 1 up to date" in study.run("pipeline", "sweep")
    assert study.find_stale_stages() == set()


def test_study_with_other_data_has_them_in_its_commands(project: Project, study: StudyProject, tmp_path: Path) -> None:
    shutil.copytree(project.root / "data/sample", tmp_path / "sample")
    project.run("pipeline", "study", "tiny", "--data", str(tmp_path / "sample"))
    # Equal images give equal arrays, so nothing is trained; stages that read keys of `data` give equal outputs.
    evaluations = ["evaluate@plain-0.01-0", "evaluate@mine-0.01-0"]
    assert study.repro() == ["prepare", *evaluations, "showcase", "report"]
    assert "SET=tiny DATA=folder" in (study.root / "reports/learning-report.html").read_text(encoding="utf-8")
    assert study.find_stale_stages() == set()


def test_make_report_with_wrong_variables_is_refused(project: Project) -> None:
    assert "did you mean tiny?" in make_report(project, "SET=tinny", code=2)
    assert "nowhere does not exist" in make_report(project, "SET=tiny", "DATA=nowhere", code=2)
    assert "requires SET" in make_report(project, "DATA=nowhere", code=2)
