"""The page that stands where the report could not be finished, in a real Chromium."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from axe_playwright_python.sync_playwright import Axe
from click.testing import CliRunner

from pipeline.artifacts.project import FAILURE, Project
from pipeline.cli import main
from pipeline.errors import PipelineError
from pipeline.report.failure import render_failure_page
from pipeline.runtime.stage_status import record_stage
from tests.conftest import ROOT
from tests.report.test_browser import browser, opened, pytestmark  # noqa: F401 - a fixture, and the marks

if TYPE_CHECKING:
    from playwright.sync_api import Browser

    from tests.report.conftest import ReportProject

RUN = "unet-0.001-0"


def fail(root: Path, stage: str, run: str, error: BaseException) -> None:
    with pytest.raises(type(error)), record_stage(stage, run, root) as say:
        say("epoch 3 of 12: training 0.500, validation 0.600")
        raise error


def test_it_shows_what_failed_with_its_last_lines_and_parameters(browser: Browser, project: ReportProject) -> None:  # noqa: F811
    fail(project.root, "train", RUN, ZeroDivisionError("<b>nothing</b> to divide by"))
    fail(project.root, "train", "gone-0.5-0", PipelineError("a run of another grid"))
    page, complaints = opened(browser, render_failure_page(project.params, None, Project(project.root)))
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
    assert page.locator("a").count() == 0  # no learning report was made
    assert complaints == []
    assert Axe().run(page).response["violations"] == []


def test_it_leads_to_the_report_of_the_others(browser: Browser, project: ReportProject) -> None:  # noqa: F811
    fail(project.root, "evaluate", RUN, PipelineError("the weights are of another network"))
    report = project.root / "reports/learning-report.html"
    report.write_text("<title>the others</title>")
    page, _ = opened(browser, render_failure_page(project.params, report, Project(project.root)))
    page.get_by_role("link").click()
    assert page.title() == "the others"


def test_a_params_file_that_cannot_be_read_is_what_failed(browser: Browser, project: ReportProject) -> None:  # noqa: F811
    fail(project.root, "sweep", "", PipelineError("params.yaml: train.epochs must be at least 1, but is 0"))
    page, _ = opened(browser, render_failure_page(None, None, Project(project.root)))
    assert "train.epochs must be at least 1, but is 0" in page.inner_text("section")
    assert page.locator("dl").count() == 0


def test_what_stopped_the_sweep_hides_behind_no_older_failure(browser: Browser, project: ReportProject) -> None:  # noqa: F811
    fail(project.root, "train", RUN, KeyboardInterrupt())
    fail(project.root, "sweep", "", PipelineError("train.epochs: must be a whole number"))
    page, _ = opened(browser, render_failure_page(project.params, None, Project(project.root)))
    assert page.locator("h2").all_inner_texts() == ["sweep"]
    assert "must be a whole number" in page.inner_text("section")


def test_a_sweep_that_was_stopped_shows_its_runs(browser: Browser, project: ReportProject) -> None:  # noqa: F811
    for stage, run in (("train", RUN), ("sweep", "")):
        fail(project.root, stage, run, KeyboardInterrupt())
    page, _ = opened(browser, render_failure_page(project.params, None, Project(project.root)))
    assert page.locator("h2").all_inner_texts() == [f"train@{RUN}"]


def test_what_is_under_way_has_not_failed(browser: Browser, project: ReportProject) -> None:  # noqa: F811
    with record_stage("train", RUN, project.root):
        page, _ = opened(browser, render_failure_page(project.params, None, Project(project.root)))
    assert page.title() == "No failure is recorded"
    assert f"Running: train@{RUN}." in page.inner_text("header")


def test_a_sweep_that_only_repeats_what_a_stage_said_is_left_out(browser: Browser, project: ReportProject) -> None:  # noqa: F811
    fail(project.root, "sweep", "", PipelineError("`dvc repro prepare` failed"))
    fail(project.root, "prepare", "", PipelineError("data.path: there is nothing"))
    page, _ = opened(browser, render_failure_page(project.params, None, Project(project.root)))
    assert page.locator("h2").all_inner_texts() == ["prepare"]
    parameters = page.locator("dt").all_inner_texts()
    assert "data.image_size" in parameters
    assert not [name for name in parameters if not name.startswith("data.")]


def test_where_no_stage_says_why_dvc_is_asked(browser: Browser, project: ReportProject) -> None:  # noqa: F811
    page, _ = opened(browser, render_failure_page(project.params, None, Project(project.root)))
    assert "dvc repro" in page.inner_text("header")


def test_no_page_is_written_while_a_command_is_at_work_and_nothing_failed(
    project: ReportProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second start is refused, and `make report` asks for the reasons: the first is still at work."""
    monkeypatch.chdir(project.root)
    with record_stage("sweep"):
        refused = CliRunner().invoke(main, ["failure"])
        assert (refused.exit_code, refused.output) == (1, "Error: Nothing has failed so far; running: sweep.\n")
        assert not FAILURE.exists()
        fail(project.root, "prepare", "", PipelineError("data.path: there is nothing"))
        assert CliRunner().invoke(main, ["failure"]).exit_code == 0
    assert "data.path: there is nothing" in FAILURE.read_text(encoding="utf-8")


def test_the_page_goes_when_the_report_is_finished(project: ReportProject, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project.root)
    shutil.copy(ROOT / "params.yaml", "params.yaml")
    page = FAILURE
    page.write_text("what failed before", encoding="utf-8")
    part = CliRunner().invoke(main, ["report", "--runs", "best"])
    assert (part.exit_code, page.exists()) == (0, True)
    whole = CliRunner().invoke(main, ["report"])
    assert (whole.exit_code, page.exists()) == (0, False)
