"""The failure page, in Chromium."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from pipeline.artifacts.project import FAILURE, Project
from pipeline.cli import main
from pipeline.errors import PipelineError
from pipeline.report.failure import render_failure_page
from pipeline.runtime.stage_status import record_stage
from tests.chromium import open_page
from tests.conftest import ROOT
from tests.optional import import_or_skip

if TYPE_CHECKING:
    from playwright.sync_api import Browser

    from tests.report.conftest import ReportProject

pytestmark = pytest.mark.timeout(60)
RUN = "unet-0.001-0"


def record_failure(root: Path, stage: str, run: str, error: BaseException) -> None:
    with pytest.raises(type(error)), record_stage(stage, run, root) as report:
        report("epoch 3 of 12: training 0.500, validation 0.600")
        raise error


def test_page_shows_failed_stages_with_last_lines_and_parameters(browser: Browser, project: ReportProject) -> None:
    record_failure(project.root, "train", RUN, ZeroDivisionError("<b>nothing</b> to divide by"))
    record_failure(project.root, "train", "gone-0.5-0", PipelineError("a run of another grid"))
    page, console_messages = open_page(browser, render_failure_page(project.params, None, Project(project.root)))
    assert page.locator("h2").all_inner_texts() == [f"train@{RUN}"]
    assert page.locator("section p").first.inner_text() == "ZeroDivisionError: <b>nothing</b> to divide by"
    lines = page.locator("pre").inner_text()
    assert "epoch 3 of 12: training 0.500, validation 0.600" in lines
    assert lines.endswith("ZeroDivisionError: <b>nothing</b> to divide by")
    parameters = dict(zip(page.locator("dt").all_inner_texts(), page.locator("dd").all_inner_texts(), strict=True))
    cell = project.params.cell("unet", 0.001, 0)
    assert parameters["train.batch_size"] == str(cell.train.batch_size)
    assert parameters["learning_rate"] == "0.001"
    assert page.get_by_text(f"dvc repro train@{RUN}").is_visible()
    assert page.locator("a").count() == 0  # because the learning report does not exist
    assert console_messages == []
    axe = import_or_skip("axe_playwright_python.sync_playwright").Axe()
    assert axe.run(page).response["violations"] == []


def test_page_links_the_report_of_the_other_runs(browser: Browser, project: ReportProject) -> None:
    record_failure(project.root, "evaluate", RUN, PipelineError("the weights are of another network"))
    report_path = project.root / "reports/learning-report.html"
    report_path.write_text("<title>the others</title>")
    page, _ = open_page(browser, render_failure_page(project.params, report_path, Project(project.root)))
    page.get_by_role("link").click()
    assert page.title() == "the others"


def test_page_without_params_shows_their_error(browser: Browser, project: ReportProject) -> None:
    record_failure(project.root, "sweep", "", PipelineError("params.yaml: train.epochs must be at least 1, but is 0"))
    page, _ = open_page(browser, render_failure_page(None, None, Project(project.root)))
    assert "train.epochs must be at least 1, but is 0" in page.inner_text("section")
    assert page.locator("dl").count() == 0


def test_newer_failure_of_the_sweep_replaces_older_failures(browser: Browser, project: ReportProject) -> None:
    record_failure(project.root, "train", RUN, KeyboardInterrupt())
    record_failure(project.root, "sweep", "", PipelineError("train.epochs: must be a whole number"))
    page, _ = open_page(browser, render_failure_page(project.params, None, Project(project.root)))
    assert page.locator("h2").all_inner_texts() == ["sweep"]
    assert "must be a whole number" in page.inner_text("section")


def test_stopped_sweep_shows_its_runs(browser: Browser, project: ReportProject) -> None:
    for stage, run in (("train", RUN), ("sweep", "")):
        record_failure(project.root, stage, run, KeyboardInterrupt())
    page, _ = open_page(browser, render_failure_page(project.params, None, Project(project.root)))
    assert page.locator("h2").all_inner_texts() == [f"train@{RUN}"]


def test_running_stage_is_not_a_failure(browser: Browser, project: ReportProject) -> None:
    with record_stage("train", RUN, project.root):
        page, _ = open_page(browser, render_failure_page(project.params, None, Project(project.root)))
    assert page.title() == "No failure is recorded"
    assert f"Running: train@{RUN}." in page.inner_text("header")


def test_sweep_failure_that_repeats_a_stage_is_omitted(browser: Browser, project: ReportProject) -> None:
    record_failure(project.root, "sweep", "", PipelineError("`dvc repro prepare` failed"))
    record_failure(project.root, "prepare", "", PipelineError("data.path: there is nothing"))
    page, _ = open_page(browser, render_failure_page(project.params, None, Project(project.root)))
    assert page.locator("h2").all_inner_texts() == ["prepare"]
    parameters = page.locator("dt").all_inner_texts()
    assert "data.image_size" in parameters
    assert not [name for name in parameters if not name.startswith("data.")]


def test_page_without_recorded_failure_suggests_dvc_repro(browser: Browser, project: ReportProject) -> None:
    page, _ = open_page(browser, render_failure_page(project.params, None, Project(project.root)))
    assert "dvc repro" in page.inner_text("header")


def test_failure_command_writes_no_page_while_a_stage_runs(
    project: ReportProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`make report` runs `pipeline failure` also when another sweep is running."""
    monkeypatch.chdir(project.root)
    with record_stage("sweep"):
        result = CliRunner().invoke(main, ["failure"])
        assert (result.exit_code, result.output) == (1, "Error: Nothing has failed so far; running: sweep.\n")
        assert not FAILURE.exists()
        record_failure(project.root, "prepare", "", PipelineError("data.path: there is nothing"))
        assert CliRunner().invoke(main, ["failure"]).exit_code == 0
    assert "data.path: there is nothing" in FAILURE.read_text(encoding="utf-8")


def test_complete_report_removes_the_failure_page(project: ReportProject, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project.root)
    shutil.copy(ROOT / "params.yaml", "params.yaml")
    page = FAILURE
    page.write_text("an earlier failure", encoding="utf-8")
    partial = CliRunner().invoke(main, ["report", "--runs", "best"])
    assert (partial.exit_code, page.exists()) == (0, True)
    complete = CliRunner().invoke(main, ["report"])
    assert (complete.exit_code, page.exists()) == (0, False)
