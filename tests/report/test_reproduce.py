"""How to make a page again: the files that its numbers stand in, and what is true of this time only."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pipeline.artifacts.project import RUNS, Project
from pipeline.artifacts.run_folder import RunFolder
from pipeline.report.render_report import render_report
from tests.report.test_render_report import best, part, rendered

if TYPE_CHECKING:
    from tests.report.conftest import ReportProject


def test_every_file_that_is_named_is_there(project: ReportProject) -> None:
    """The files with the numbers: `<run>` is any run."""
    named = re.findall(
        r"<dd><code>(.*?)</code>", part(rendered(project), "reproduce").split("Files with the numbers")[1]
    )
    paths = [path for text in named for path in re.findall(r"[\w/.-]+", text.replace("&lt;run&gt;", best(project)))]
    files = [path for path in paths if "/" in path]
    assert len(files) >= 10
    assert [path for path in files if not (project.root / path.rstrip("/")).exists()] == []


def test_live_adds_what_the_stage_leaves_out(project: ReportProject) -> None:
    run = best(project)
    write_timing(project.root / RUNS / run)
    lock = {"prepare": {"outs": [{"path": "data/prepared", "md5": "aa.dir"}]}}
    (project.root / "dvc.lock").write_text(json.dumps({"stages": lock}))
    plain = part(rendered(project, run), "reproduce")
    assert re.search(r"DVC’s hash of data/prepared</dt><dd><code>aa.dir<", plain)
    assert "A processor" not in plain  # DVC does not keep times and machine: the page may not depend on them
    assert f"DVC’s hash of runs/{run}" not in plain  # it is not recorded
    provenance = part(
        render_report(project.params, run, project=Project(project.root), provenance=True).path.read_text("utf-8"),
        "reproduce",
    )
    assert "Provenance" not in plain
    facts = dict(re.findall(r"<dt>(.*?)</dt><dd><code>(.*?)</code>", provenance.split("Provenance")[1]))
    assert facts["rendered"].endswith("UTC")
    assert facts["git commit"] == "none: not a git repository"
    assert facts["trained for"] == "90 to 90 s per run, 1.5 min in total"
    assert (facts["processor"], facts["torch"]) == ("A processor", "9.9")
    assert facts["MLflow"] == "make ui, experiment learning-report"


def write_timing(folder: Path, **changes: str) -> None:
    key = json.loads((folder / RunFolder.RECORD).read_text())["key"]
    machine = {"seconds": 90.4, "processor": "A processor", "torch": "9.9"}
    unused = {"training_seconds": 1.0, "eval_seconds": 1.0, "images_per_second": None, "epochs": []}
    timing = {**unused, **machine, "key": key, **changes}
    (folder / RunFolder.TIMING).write_text(json.dumps(timing))


@pytest.mark.parametrize("is_foreign", [False, True], ids=["missing", "of another training"])
def test_live_does_not_know_the_times_of_a_restored_run(project: ReportProject, is_foreign: bool) -> None:
    run = best(project)
    if is_foreign:
        write_timing(project.root / RUNS / run, key="another")
    else:
        (project.root / RUNS / run / RunFolder.TIMING).unlink(missing_ok=True)
    provenance = part(
        render_report(project.params, run, project=Project(project.root), provenance=True).path.read_text("utf-8"),
        "reproduce",
    )
    facts = dict(re.findall(r"<dt>(.*?)</dt><dd><code>(.*?)</code>", provenance.split("Provenance")[1]))
    unknown = "unknown: DVC restores runs without timing.json"
    assert {facts[name] for name in ("trained for", "processor", "torch")} == {unknown}


def test_live_shows_a_server_without_its_password(project: ReportProject) -> None:
    tracking = project.params.tracking.model_copy(update={"uri": "http://anna:secret@127.0.0.1:9/a"})
    params = project.params.model_copy(update={"tracking": tracking})
    html = render_report(params, best(project), project=Project(project.root), provenance=True).path.read_text(
        encoding="utf-8"
    )
    assert "MLflow at http://127.0.0.1:9/a does not answer" in html
    assert "secret" not in html
