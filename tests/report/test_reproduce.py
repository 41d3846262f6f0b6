"""The section on reproducing a report: files with the numbers, and provenance."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pipeline.artifacts.project import RUNS, Project
from pipeline.artifacts.run_folder import RunFolder
from pipeline.report.write_report import write_report
from tests.report.test_write_report import get_best_run, get_section, render

if TYPE_CHECKING:
    from tests.report.conftest import ReportProject


LOCK = """schema: '2.0'
stages:
  prepare:
    cmd: pipeline prepare
    deps:
    - path: data/sample
      hash: md5
      md5: bb.dir
    outs:
    - path: data/prepared
      hash: md5
      md5: aa.dir
      size: 1
      nfiles: 1
  compare:
    cmd: pipeline compare
"""


def test_every_listed_file_exists(project: ReportProject) -> None:
    listed = re.findall(
        r"<dd><code>(.*?)</code>", get_section(render(project), "reproduce").split("Files with the numbers")[1]
    )
    paths = [
        path for text in listed for path in re.findall(r"[\w/.-]+", text.replace("&lt;run&gt;", get_best_run(project)))
    ]
    files = [path for path in paths if "/" in path]
    assert len(files) >= 10
    assert [path for path in files if not (project.root / path.rstrip("/")).exists()] == []


def test_provenance_adds_times_and_machine(project: ReportProject) -> None:
    run = get_best_run(project)
    write_timing(project.root / RUNS / run)
    (project.root / "dvc.lock").write_text(LOCK)
    without_provenance = get_section(render(project, run), "reproduce")
    assert re.search(r"DVC’s hash of data/prepared</dt><dd><code>aa.dir<", without_provenance)
    assert "A processor" not in without_provenance  # not DVC outputs, so the page must not depend on them
    assert f"DVC’s hash of runs/{run}" not in without_provenance  # dvc.lock has no hash of it
    provenance = get_section(
        write_report(project.params, run, project=Project(project.root), provenance=True).path.read_text("utf-8"),
        "reproduce",
    )
    assert "Provenance" not in without_provenance
    facts = dict(re.findall(r"<dt>(.*?)</dt><dd><code>(.*?)</code>", provenance.split("Provenance")[1]))
    assert facts["rendered"].endswith("UTC")
    assert facts["git commit"] == "none: not a git repository"
    assert facts["trained for"] == "90 to 90 s per run, 1.5 min in total"
    assert (facts["processor"], facts["torch"]) == ("A processor", "9.9")
    assert facts["MLflow"] == "make ui, experiment learning-report"


def test_initial_weights_of_each_variant_are_listed(project: ReportProject) -> None:
    run = get_best_run(project)
    assert "initial weights" not in get_section(render(project, run), "reproduce")
    path = project.root / RUNS / run / RunFolder.RECORD
    weights = {"source": "timm/a", "revision": "c0ffee", "sha256": "f00", "license": "mit", "notes": ["conv adapted"]}
    path.write_text(json.dumps({**json.loads(path.read_text()), "weights": weights}))
    section = get_section(render(project, run), "reproduce")
    variant = run.split("-")[0]
    described = "timm/a@c0ffee, SHA-256 f00, license mit; conv adapted"
    assert f"<dt>initial weights of {variant}</dt><dd><code>{described}</code>" in section


def write_timing(folder: Path, **changes: str) -> None:
    key = json.loads((folder / RunFolder.RECORD).read_text())["key"]
    machine = {"seconds": 90.4, "processor": "A processor", "torch": "9.9"}
    unused = {"training_seconds": 1.0, "eval_seconds": 1.0, "images_per_second": None, "epochs": []}
    timing = {**unused, **machine, "key": key, **changes}
    (folder / RunFolder.TIMING).write_text(json.dumps(timing))


@pytest.mark.parametrize("is_foreign", [False, True], ids=["missing", "of another training"])
def test_provenance_of_a_restored_run_has_no_times(project: ReportProject, is_foreign: bool) -> None:
    run = get_best_run(project)
    if is_foreign:
        write_timing(project.root / RUNS / run, key="another")
    else:
        (project.root / RUNS / run / RunFolder.TIMING).unlink(missing_ok=True)
    provenance = get_section(
        write_report(project.params, run, project=Project(project.root), provenance=True).path.read_text("utf-8"),
        "reproduce",
    )
    facts = dict(re.findall(r"<dt>(.*?)</dt><dd><code>(.*?)</code>", provenance.split("Provenance")[1]))
    unknown = "unknown: DVC restores runs without timing.json"
    assert {facts[name] for name in ("trained for", "processor", "torch")} == {unknown}


def test_provenance_shows_no_password_of_the_server(project: ReportProject) -> None:
    tracking = project.params.tracking.model_copy(update={"uri": "http://anna:secret@127.0.0.1:9/a"})
    params = project.params.model_copy(update={"tracking": tracking})
    html = write_report(params, get_best_run(project), project=Project(project.root), provenance=True).path.read_text(
        encoding="utf-8"
    )
    assert "MLflow at http://127.0.0.1:9/a does not answer" in html
    assert "secret" not in html
