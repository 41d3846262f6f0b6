"""Two revisions of a project: DVC's plots and metrics, and the page on what changed."""

from __future__ import annotations

import json
import re
import shutil
import warnings
from typing import Any

import pytest

from tests.e2e.conftest import Project
from tests.optional import import_or_skip

GIT = ("git", "-c", "user.name=a", "-c", "user.email=a@b.c")
PLOTS = {
    "Loss by epoch",
    "Validation loss by run",
    "Gap by run",
    "Training against validation loss",
    "Confusion matrix of the best run on validation",
    "Calibration of the best run",
}


@pytest.fixture(scope="module")
def project(swept_project: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project with committed results, whose current results come from a longer training."""
    root = tmp_path_factory.mktemp("revisions") / "project"
    shutil.copytree(swept_project.root, root, symlinks=True)
    project = Project(root, swept_project.commands)
    project.run("git", "add", "--all")
    project.run(*GIT, "commit", "--quiet", "--message", "two epochs")
    project.change(train={"epochs": 3})
    project.run("pipeline", "sweep")
    project.repro()
    return project


def read_plots(project: Project, *arguments: str) -> dict[str, list[Any]]:
    output = project.run("dvc", "plots", *arguments, "--json")
    content: dict[str, list[Any]] = json.loads(output[output.index("{") :])["data"]
    return {name.removeprefix("dvc.yaml::"): plots for name, plots in content.items()}


def test_dvc_plots_draws_every_plot_of_both_revisions(project: Project) -> None:
    vl_convert = import_or_skip("vl_convert")
    plots = read_plots(project, "diff", "HEAD", "workspace")
    assert plots.keys() == PLOTS
    for name, (plot,) in plots.items():
        assert set(plot["revisions"]) == {"HEAD", "workspace"}
        specification = plot["content"] if isinstance(plot["content"], dict) else json.loads(plot["content"])
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            svg = vl_convert.vegalite_to_svg(specification)
        assert name in svg
        assert "NaN" not in svg
        assert svg.count("workspace") >= 1


def test_dvc_plots_show_all_epochs_of_all_runs(project: Project) -> None:
    (plot,) = read_plots(project, "show")["Loss by epoch"]
    content = plot["content"] if isinstance(plot["content"], dict) else json.loads(plot["content"])
    points = content["data"]["values"]
    assert len(points) == 2 * 3 * 2  # runs, epochs, splits
    assert {point["split"] for point in points} == {"train", "validation"}


def test_dvc_compares_eight_metrics_of_the_best_setting(project: Project) -> None:
    table = json.loads(project.run("dvc", "metrics", "diff", "--json", "--all"))["metrics.json"]
    names = ("variant", "learning_rate", "val_loss", "gap", "mean_iou", "test_loss", "test_mean_iou")
    assert set(table) == {f"best.{name}" for name in names}  # one seed has no val_loss_sd


def test_report_against_a_git_revision_reads_its_results_from_the_cache(project: Project) -> None:
    page = project.root / project.run("pipeline", "report", "--against", "HEAD").strip()
    html = page.read_text(encoding="utf-8")
    assert re.search(r"<code>train\.epochs</code></th><td>all variants</td><td>2</td><td>3</td>", html)
    settings = (project.root / "comparison/settings.csv").read_text(encoding="utf-8")
    assert f"{float(settings.splitlines()[1].split(',')[6]):.3f}" in html
    assert project.find_stale_stages() == set()


def test_report_against_a_revision_without_results_says_what_to_do(project: Project) -> None:
    before = set((project.root / "reports").iterdir())
    output = project.run("pipeline", "report", "--against", "HEAD~1", code=1)
    assert "the results of HEAD~1 are neither in DVC's cache nor in its remote" in output
    assert set((project.root / "reports").iterdir()) == before


def test_another_metric_runs_only_the_comparison_and_later_stages(project: Project) -> None:
    path = project.root / "params.yaml"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("rank_by: val_loss", "rank_by: image_dice"), encoding="utf-8")
    assert project.find_stale_stages() == {"compare"}
    project.run("dvc", "repro")
    best = json.loads((project.root / "metrics.json").read_text())["best"]
    assert {"image_dice", "test_image_dice"} <= set(best)
    table = json.loads(project.run("dvc", "metrics", "diff", "--json", "--all"))["metrics.json"]
    assert "best.image_dice" in table
    html = (project.root / "reports/learning-report.html").read_text(encoding="utf-8")
    assert "has the highest Dice by image of this grid" in html
    assert project.find_stale_stages() == set()
