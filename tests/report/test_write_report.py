"""Rendering the report: complete, deterministic, self-contained, and with notices for missing files."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from pipeline.artifacts.comparison import Comparison
from pipeline.artifacts.evaluation_folder import EvaluationFolder
from pipeline.artifacts.prepared_data import SHOWCASE, PreparedData
from pipeline.artifacts.project import (
    COMPARISON,
    EVALUATION,
    EXTERNAL_RESULTS,
    PREPARED,
    REPORT,
    RUNS,
    TEMPLATES,
    Project,
)
from pipeline.cli import main
from pipeline.errors import PipelineError
from pipeline.params import ExternalResult
from pipeline.report.write_report import RenderedReport, write_report
from tests.report.conftest import draw_disc, render_header

if TYPE_CHECKING:
    from tests.report.conftest import ReportProject

REPOSITORY = Path(__file__).resolve().parents[2]


def render(project: ReportProject, selection: str | None = None) -> str:
    return write_report(project.params, selection, project=Project(project.root)).path.read_text(encoding="utf-8")


@dataclass(frozen=True)
class Complete:
    """A project that no test changes, and its page."""

    project: ReportProject
    report: RenderedReport
    html: str


@pytest.fixture(scope="module")
def complete(make_project: type[ReportProject], tmp_path_factory: pytest.TempPathFactory) -> Complete:
    project = make_project(tmp_path_factory.mktemp("complete"))
    report = write_report(project.params, project=Project(project.root))
    return Complete(project, report, report.path.read_text(encoding="utf-8"))


def list_table_runs(html: str) -> list[str]:
    body = html.split('aria-label="All runs"', 1)[1].split("</table>", 1)[0]
    return re.findall(r'<tr id="run-.*?<th scope="row">(.*?)</th>', body)


def list_notices(html: str) -> list[str]:
    return re.findall(r'<aside class="card">\s*<p><strong>(.*?)</strong>', html)


def test_write_report_writes_the_complete_page(complete: Complete) -> None:
    html = complete.html
    assert complete.report.path == complete.project.root / REPORT
    assert complete.report.faults == ()
    assert list_notices(html) == []
    assert list_table_runs(html) == [row.run for row in complete.project.summary.runs]
    assert "The loss was not finite in epoch 3." in html
    assert '<td title="validation ends at 1.70 times the training loss">memorizing</td>' in html
    assert "(0.050 to 0.250)" in html
    assert "Onset: the curves have 6 epochs; the search requires at least 8." in html
    gap = get_section(html, "gap")
    assert "mean confidence" in gap
    assert re.findall(r'<tr class="best"><th scope="row">(\w+)</th>', gap) == ["border"]
    assert re.findall(r'<th scope="row">(pet|background|border)</th>', gap) == ["border", "background", "pet"]
    assert re.findall(r"<td>(\d)</td>", gap) == ["0", "1", "2", "3"]  # groups by decreasing gap
    assert re.findall(r'<span class="label">(validation-\d+)', gap) == [f"validation-000{row}" for row in range(3)]
    assert html.count("<svg ") > html.count('class="swatch')
    assert len(html) < 500_000


def add_external_results(project: ReportProject, *files: tuple[str, str]) -> None:
    """Write tables of external results and list them in the project's parameters."""
    folder = project.root / EXTERNAL_RESULTS
    folder.mkdir(parents=True)
    results = []
    for name, text in files:
        (folder / f"{name}.csv").write_text(text)
        results.append(ExternalResult(name=name.title(), source=f"{name}, 2020", file=f"{name}.csv"))
    report = project.params.report.model_copy(update={"external_results": results})
    project.params = project.params.model_copy(update={"report": report})


def test_findings_link_their_runs(complete: Complete, project: ReportProject) -> None:
    findings = get_section(complete.html, "findings")
    assert re.findall(r'<a href="#run-(.*?)">(.*?)</a>', findings) == [(get_best_run(project), get_best_run(project))]
    other = next(row.run for row in project.summary.runs if row.run != get_best_run(project))
    assert "<a " not in get_section(render(project, other), "findings")  # links to runs that are not shown are omitted


def test_external_results_are_listed_separately(complete: Complete, project: ReportProject) -> None:
    without_results = complete.html
    rows = "".join(f"{epoch},{0.6 / epoch},{0.7 - epoch / 50}\n" for epoch in range(1, 10))
    add_external_results(
        project,
        ("published", f"epoch,train_loss,val_loss\n{rows}"),
        ("class", "name,val_loss,mean_iou\nAnna,0.41,0.72\nBen,0.39,\n"),
    )
    html = render(project)
    assert list_notices(html) == []
    rows_below = get_section(html, "runs").split('<tbody class="baseline">', 1)[1].split("</tbody>", 1)[0]
    assert re.findall(r'<th scope="row">(.*?)</th>', rows_below) == ["Published", "Class: Anna", "Class: Ben"]
    assert ">memorizing</td>" in rows_below
    assert (
        '<td class="n">9 / 9</td><td class="n">0.067</td><td class="n">0.520</td><td class="n">0.453</td>' in rows_below
    )
    assert '<td class="n">0.410</td><td class="n">–</td><td class="n">0.720</td>' in rows_below
    assert "<li>Published: published, 2020.</li>" in html
    assert list_table_runs(html) == list_table_runs(without_results)
    for section in ("results", "findings", "test"):  # external results affect no ranking and no finding
        assert get_section(html, section) == get_section(without_results, section)
    assert ">Published</text>" in get_section(html, "curves")


def test_notes_about_external_results_are_listed(project: ReportProject) -> None:
    add_external_results(
        project,
        ("models", "model,train_loss,val_loss\nunet,0.2,0.3\nvit,0.1,0.5\n"),
        ("runs", "run,epoch,loss,val_loss\na,1,0.5,0.6\na,2,0.4,\nb,1,0.5,\n"),
    )
    html = render(project)
    runs = get_section(html, "runs")
    assert "<li>Models: unet: The names of the results are those in the column model.</li>" in runs
    assert "<li>Runs: a: Epochs with only one of the losses were left out: 2.</li>" in runs
    assert "<li>Runs: a: Runs that were left out: b. reports/external_results/runs.csv: run b has" in runs
    assert ">Models: vit</text>" not in html


def get_section(html: str, section: str) -> str:
    return html.split(f'<section id="{section}">', 1)[1].split("</section>", 1)[0]


def test_invalid_external_result_becomes_a_notice(project: ReportProject) -> None:
    add_external_results(project, ("odd", "colour,taste\nred,sweet\n"), ("gone", ""))
    (project.root / EXTERNAL_RESULTS / "gone.csv").unlink()
    html = render(project)
    assert list_notices(html) == ["Odd is not shown.", "Gone is not shown."]
    assert "reports/external_results/odd.csv has the columns colour, taste" in html
    assert str(project.root) not in html


def test_ids_are_unique_and_links_have_targets(complete: Complete) -> None:
    html = complete.html
    ids = re.findall(r'\bid="([^"]+)"', html)
    assert len(ids) == len(set(ids))
    targets = re.findall(r'(?:href="#|url\(#|aria-labelledby=")([^")]+)', html)
    assert targets
    assert set(targets) <= set(ids)


def test_page_has_no_external_links(complete: Complete) -> None:
    html = complete.html
    urls = re.findall(r'\b(?:src|xlink:href|href)="([^"]*)"', html)
    assert all(url.startswith(("data:image/", "#")) for url in urls)
    assert "default-src &#39;none&#39;" in html
    assert str(complete.project.root) not in html


def test_write_report_is_deterministic(complete: Complete, project: ReportProject) -> None:
    assert project.root != complete.project.root
    assert render(project) == complete.html
    assert render(project) == complete.html
    assert complete.report.path.read_bytes() == (project.root / REPORT).read_bytes()


def test_selection_shows_its_runs_and_states_the_total(project: ReportProject) -> None:
    assert project.summary.best is not None
    html = render(project, "best")
    assert list_table_runs(html) == [project.summary.best.run]
    assert "This page shows 1 of the grid’s 8 runs" in html
    names = ["unet-0.001-1", "unet_no_skip-0.01-0"]
    html = render(project, ",".join(names))
    assert list_table_runs(html) == names
    assert all(f"Prediction for validation-0000 by {name}" in html for name in names)


def test_out_sets_the_path_of_the_report(project: ReportProject, tmp_path: Path) -> None:
    out = tmp_path / "deep" / "page.html"
    assert write_report(project.params, "all", out, Project(project.root)).path == out
    assert out.is_file()
    assert not (project.root / REPORT).exists()


def get_best_run(project: ReportProject) -> str:
    assert project.summary.best is not None
    return project.summary.best.run


BREAKAGES: dict[str, tuple[Callable[[ReportProject], Path], tuple[str, ...]]] = {
    "notes": (lambda p: p.root / p.params.report.notes_file, ("Notes: missing.",)),
    "findings": (lambda p: p.root / COMPARISON / Comparison.FINDINGS, ("Findings: missing.",)),
    "parts": (lambda p: p.root / COMPARISON / Comparison.GAP_PARTS, ("Where the gap comes from: missing.",)),
    "calibration": (
        lambda p: p.root / EVALUATION / get_best_run(p) / EvaluationFolder.CALIBRATION,
        ("{best}: no reliability curve.",),
    ),
    "curves": (lambda p: p.root / COMPARISON / Comparison.CURVES, ("Loss curves: missing.",)),
    "evaluation": (
        lambda p: p.root / EVALUATION / get_best_run(p),
        ("{best}: no training and validation scores.", "{best}: no example predictions."),
    ),
    "examples": (
        lambda p: p.root / EVALUATION / get_best_run(p) / EvaluationFolder.EXAMPLES,
        ("{best}: no example predictions.",),
    ),
    "per image": (
        lambda p: p.root / EVALUATION / get_best_run(p) / EvaluationFolder.PER_IMAGE,
        ("{best}: no IoU below its predictions.",),
    ),
    "run": (
        lambda p: p.root / RUNS / get_best_run(p),
        ("{best}: no predictions for the showcase over epochs.", "The parameters of {best} are unknown."),
    ),
    "showcase": (lambda p: p.root / PREPARED / SHOWCASE, ("The showcase is not shown.",)),
    "classes": (
        lambda p: p.root / PREPARED / PreparedData.CLASSES,
        (
            "The data set is not described.",
            "The showcase is not shown.",
            "Examples: missing.",
            "The fingerprint of the data is unknown.",
        ),
    ),
}


# Pieces that do not depend on each other, so that one page shows the notices of all.
BROKEN_TOGETHER = (
    ("notes", "findings", "calibration", "curves", "per image", "showcase"),
    ("parts", "examples", "run"),
    ("evaluation",),
    ("classes",),
)


@pytest.mark.parametrize("pieces", BROKEN_TOGETHER, ids=", ".join)
@pytest.mark.parametrize("is_invalid", [False, True], ids=["missing", "invalid"])
def test_missing_or_invalid_files_become_notices(
    project: ReportProject, pieces: tuple[str, ...], is_invalid: bool
) -> None:
    expected = set()
    for piece in pieces:
        get_path, expected_titles = BREAKAGES[piece]
        expected |= {title.format(best=get_best_run(project)) for title in expected_titles}
        path = get_path(project)
        for file in [path] if path.is_file() else list(path.rglob("*")):
            if file.is_file() and is_invalid:
                file.write_bytes(b"\xff{[")
        if not is_invalid:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        if is_invalid and piece in ("evaluation", "examples"):  # the folder exists, but its images are invalid
            expected -= {f"{get_best_run(project)}: no example predictions."}
            expected |= {f"{get_best_run(project)}: no prediction for validation-{row:04d}." for row in range(4)}
    page = write_report(project.params, project=Project(project.root))
    html = page.path.read_text(encoding="utf-8")
    titles = list_notices(html)
    assert [f"{notice.title}." for notice in page.faults] == titles
    assert expected <= set(titles)
    assert list_table_runs(html) == [row.run for row in project.summary.runs]
    assert str(project.root) not in html


def test_missing_part_is_a_fault_but_not_an_unranked_grid(project: ReportProject) -> None:
    project.write_summary(replace(project.summary, best=None, best_of_variant=()))
    unranked = write_report(project.params, project=Project(project.root))
    assert unranked.faults == ()
    html = unranked.path.read_text(encoding="utf-8")
    assert "nothing is ranked" in html
    assert "Test scores: nothing to show." in list_notices(html)
    (project.root / project.params.report.notes_file).write_text("{{ bets.val_loss }}")
    (fault,) = write_report(project.params, project=Project(project.root)).faults
    assert fault.title == "Notes: missing"
    assert "notes.md, line 1: unknown value 'bets'" in fault.text


def test_report_command_lists_missing_sections(project: ReportProject, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project.root)
    shutil.copy(REPOSITORY / "params.yaml", "params.yaml")
    complete = CliRunner().invoke(main, ["report"])
    assert (complete.exit_code, complete.stderr) == (0, "")
    (project.root / COMPARISON / Comparison.CURVES).unlink()
    incomplete = CliRunner().invoke(main, ["report"])
    assert incomplete.exit_code == 1
    assert incomplete.stdout.strip() == str(REPORT)
    assert "Loss curves: missing. comparison/curves.csv is missing. Run `pipeline compare`" in incomplete.stderr
    assert "Loss curves: missing." in list_notices((project.root / REPORT).read_text(encoding="utf-8"))


def test_examples_are_the_best_the_median_and_the_worst_image(project: ReportProject) -> None:
    run = get_best_run(project)
    path = project.root / EVALUATION / run / EvaluationFolder.PER_IMAGE
    table = pd.read_csv(path)
    table["loss"] = [0.3, 0.1, 0.4, 0.2]
    table.to_csv(path, index=False)
    examples = get_section(render(project), "examples")
    first = examples.split("</table>", 1)[0]
    assert f"Lowest, median and highest loss of {run}" in first
    assert re.findall(r"(validation-\d+)<br>(\w+), loss ([\d.]+)", first) == [
        ("validation-0001", "best", "0.100"),
        ("validation-0000", "median", "0.300"),
        ("validation-0002", "worst", "0.400"),
    ]
    of_one_run = get_section(render(project, "best"), "examples").split("</table>")
    assert re.findall(r'<span class="label">(validation-\d+)', of_one_run[1]) == ["validation-0003"]  # not repeated


def test_json_with_missing_keys_becomes_a_notice(project: ReportProject) -> None:
    (project.root / EVALUATION / get_best_run(project) / EvaluationFolder.METRICS).write_text("{}")
    (project.root / PREPARED / PreparedData.CLASSES).write_text('{"source": "x"}')
    assert len(list_notices(render(project))) >= 2
    (project.root / COMPARISON / Comparison.SUMMARY).write_text("{}")
    with pytest.raises(PipelineError, match=r"summary\.json .*pipeline compare"):
        render(project)


def test_report_without_a_comparison_is_refused(project: ReportProject) -> None:
    shutil.rmtree(project.root / COMPARISON)
    with pytest.raises(PipelineError, match="pipeline compare"):
        render(project)


def test_missing_or_invalid_template_is_named(project: ReportProject) -> None:
    templates = project.root / TEMPLATES
    templates.unlink()  # the link to the repository's templates
    shutil.copytree(REPOSITORY / TEMPLATES, templates)
    (templates / "results.html").write_text("{{ view.nothing }}")
    with pytest.raises(PipelineError, match="nothing"):
        render(project)
    (templates / "results.html").unlink()
    with pytest.raises(PipelineError, match=r"results\.html is missing"):
        render(project)


@pytest.mark.parametrize(
    ("iou", "words"), [(0.89, "Cut-out failed."), (0.90, "Clean cut-out."), (None, "Not measured.")]
)
def test_header_states_the_quality_of_the_cutout(project: ReportProject, iou: float | None, words: str) -> None:
    rows = tuple(replace(row, showcase_iou=iou) for row in project.summary.runs)
    project.write_summary(replace(project.summary, runs=rows))
    assert f"<strong>{words}</strong>" in render_header(project)


def test_single_run_has_a_report(make_project: type[ReportProject], tmp_path: Path) -> None:
    project = make_project(tmp_path, variants=("unet",), learning_rates=(0.001,), seeds=(0,), epochs=1, diverged="")
    html = render(project)
    assert list_notices(html) == []
    assert "lowest to highest seed" not in html


def test_examples_are_limited_to_max_runs(project: ReportProject, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.report.sections.examples.MAX_RUNS", 2)
    html = render(project, "unet-0.01-0,unet-0.01-1,unet-0.001-0,unet-0.001-1")
    assert get_section(html, "examples").count('alt="Prediction for validation-0000 by') == 2
    assert "2 further runs would make the page too large" in html
    assert len(list_table_runs(html)) == 4


def test_examples_are_those_that_all_shown_runs_have(project: ReportProject) -> None:
    best_of_variant = [item.run for item in project.summary.best_of_variant]
    (project.root / EVALUATION / best_of_variant[0] / EvaluationFolder.EXAMPLES / "validation-0002.png").unlink()
    html = render(project)
    assert "Ground truth of validation-0001" in html
    assert "Ground truth of validation-0002" not in html
    assert list_notices(html) == []


def test_report_of_large_images_has_a_limited_size(make_project: type[ReportProject], tmp_path: Path) -> None:
    """Noise compresses badly; a report with photographs is four times smaller."""

    def noise(split: str, row: int, size: int) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng([row, *split.encode()])
        return rng.integers(0, 256, (size, size, 3), np.uint8), draw_disc(split, row, size)[1]

    variants = tuple(f"unet{index}" for index in range(6))
    project = make_project(
        tmp_path, variants, learning_rates=(0.01,), seeds=(0,), size=768, epochs=2, paint=noise, diverged=""
    )
    html = write_report(project.params, project=Project(project.root)).path.read_text(encoding="utf-8")
    assert list_notices(html) == []
    assert len(html) < 6_000_000
