"""The page as a file: whole, the same twice, and standing where pieces are missing."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from dataclasses import replace
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
from pipeline.report.stage import render_report
from tests.report.conftest import disc

if TYPE_CHECKING:
    from tests.report.conftest import ReportProject

REPOSITORY = Path(__file__).resolve().parents[2]


def rendered(project: ReportProject, selection: str | None = None) -> str:
    return render_report(project.params, selection, project=Project(project.root)).path.read_text(encoding="utf-8")


def table_of_runs(html: str) -> list[str]:
    body = html.split("data-sortable", 1)[1].split("</table>", 1)[0]
    return re.findall(r'<tr id="run-.*?<th scope="row">(.*?)</th>', body)


def cards(html: str) -> list[str]:
    return re.findall(r'<aside class="card">\s*<p><strong>(.*?)</strong>', html)


def test_the_stage_writes_the_whole_page(project: ReportProject) -> None:
    path = render_report(project.params, project=Project(project.root)).path
    html = path.read_text(encoding="utf-8")
    assert path == project.root / REPORT
    assert cards(html) == []
    assert table_of_runs(html) == [row.run for row in project.summary.runs]
    assert "The loss was not finite in epoch 3." in html
    assert '<td title="validation ends at 1.70 times the training loss">memorizing</td>' in html
    assert "(0.050 to 0.250)" in html
    assert "Onset: 6 epochs in all; it takes 8." in html
    gap = part(html, "gap")
    assert "mean confidence" in gap
    assert re.findall(r'<tr class="best"><th scope="row">(\w+)</th>', gap) == ["border"]
    assert re.findall(r'<th scope="row">(pet|background|border)</th>', gap) == ["border", "background", "pet"]
    assert re.findall(r"<td>(\d)</td>", gap) == ["0", "1", "2", "3"]  # groups, the largest gap first
    assert re.findall(r'<span class="label">(validation-\d+)', gap) == [f"validation-000{row}" for row in range(3)]
    assert html.count("<svg ") > html.count('class="swatch')
    assert len(html) < 500_000


def with_external_results(project: ReportProject, *files: tuple[str, str]) -> None:
    """Write tables into the project's folder of references and name them in its parameters."""
    folder = project.root / EXTERNAL_RESULTS
    folder.mkdir(parents=True)
    named = []
    for name, text in files:
        (folder / f"{name}.csv").write_text(text)
        named.append(ExternalResult(name=name.title(), source=f"{name}, 2020", file=f"{name}.csv"))
    report = project.params.report.model_copy(update={"external_results": named})
    project.params = project.params.model_copy(update={"report": report})


def test_findings_lead_to_their_runs(project: ReportProject) -> None:
    findings = part(rendered(project), "findings")
    assert re.findall(r'<a href="#run-(.*?)">(.*?)</a>', findings) == [(best(project), best(project))]
    other = next(row.run for row in project.summary.runs if row.run != best(project))
    assert "<a " not in part(rendered(project, other), "findings")  # what rests on a run that is not shown is left out


def test_other_peoples_results_stand_apart(project: ReportProject) -> None:
    plain = rendered(project)
    rows = "".join(f"{epoch},{0.6 / epoch},{0.7 - epoch / 50}\n" for epoch in range(1, 10))
    with_external_results(
        project,
        ("published", f"epoch,train_loss,val_loss\n{rows}"),
        ("class", "name,val_loss,mean_iou\nAnna,0.41,0.72\nBen,0.39,\n"),
    )
    html = rendered(project)
    assert cards(html) == []
    below = part(html, "runs").split('<tbody class="baseline">', 1)[1].split("</tbody>", 1)[0]
    assert re.findall(r'<th scope="row">(.*?)</th>', below) == ["Published", "Class: Anna", "Class: Ben"]
    assert ">memorizing</td>" in below
    assert '<td class="n">9 / 9</td><td class="n">0.067</td><td class="n">0.520</td><td class="n">0.453</td>' in below
    assert '<td class="n">0.410</td><td class="n">–</td><td class="n">0.720</td>' in below
    assert "<li>Published: published, 2020.</li>" in html
    assert table_of_runs(html) == table_of_runs(plain)
    for section in ("results", "findings", "test"):  # nothing is ranked or concluded from them
        assert part(html, section) == part(plain, section)
    assert ">Published</text>" in part(html, "curves")


def part(html: str, section: str) -> str:
    return html.split(f'<section id="{section}">', 1)[1].split("</section>", 1)[0]


def test_a_reference_that_cannot_be_read_becomes_a_card(project: ReportProject) -> None:
    with_external_results(project, ("odd", "colour,taste\nred,sweet\n"), ("gone", ""))
    (project.root / EXTERNAL_RESULTS / "gone.csv").unlink()
    html = rendered(project)
    assert cards(html) == ["Odd is not shown.", "Gone is not shown."]
    assert "reports/external_results/odd.csv has the columns colour, taste" in html
    assert str(project.root) not in html


def test_ids_stand_once_and_links_lead_somewhere(project: ReportProject) -> None:
    html = rendered(project)
    ids = re.findall(r'\bid="([^"]+)"', html)
    assert len(ids) == len(set(ids))
    references = re.findall(r'(?:href="#|url\(#|aria-labelledby=")([^")]+)', html)
    assert references
    assert set(references) <= set(ids)


def test_the_page_reaches_for_nothing_outside(project: ReportProject) -> None:
    html = rendered(project)
    addresses = re.findall(r'\b(?:src|xlink:href|href)="([^"]*)"', html)
    assert all(address.startswith(("data:image/", "#")) for address in addresses)
    assert "default-src &#39;none&#39;" in html
    assert str(project.root) not in html


def test_the_same_inputs_give_the_same_bytes(
    project: ReportProject, make_project: type[ReportProject], tmp_path_factory: pytest.TempPathFactory
) -> None:
    first = render_report(project.params, project=Project(project.root)).path.read_bytes()
    source = tmp_path_factory.mktemp("elsewhere")
    copy = make_project(source)
    assert render_report(copy.params, project=Project(source)).path.read_bytes() == first
    assert render_report(project.params, project=Project(project.root)).path.read_bytes() == first


def test_a_selection_shows_its_runs_and_says_that_there_are_more(project: ReportProject) -> None:
    assert project.summary.best is not None
    html = rendered(project, "best")
    assert table_of_runs(html) == [project.summary.best.run]
    assert "This page shows 1 of the grid’s 8 runs" in html
    names = ["unet-0.001-1", "unet_no_skip-0.01-0"]
    html = rendered(project, ",".join(names))
    assert table_of_runs(html) == names
    assert all(f"Prediction for validation-0000 by {name}" in html for name in names)


def test_out_is_written_where_it_is_asked_for(project: ReportProject, tmp_path: Path) -> None:
    out = tmp_path / "deep" / "page.html"
    assert render_report(project.params, "all", out, Project(project.root)).path == out
    assert out.is_file()
    assert not (project.root / REPORT).exists()


def best(project: ReportProject) -> str:
    assert project.summary.best is not None
    return project.summary.best.run


BREAKAGES: dict[str, tuple[Callable[[ReportProject], Path], tuple[str, ...]]] = {
    "notes": (lambda p: p.root / p.params.report.notes_file, ("Notes: missing.",)),
    "findings": (lambda p: p.root / COMPARISON / Comparison.FINDINGS, ("Findings: missing.",)),
    "parts": (lambda p: p.root / COMPARISON / Comparison.GAP_PARTS, ("Where the gap comes from: missing.",)),
    "calibration": (
        lambda p: p.root / EVALUATION / best(p) / EvaluationFolder.CALIBRATION,
        ("{best}: no reliability curve.",),
    ),
    "curves": (lambda p: p.root / COMPARISON / Comparison.CURVES, ("Loss curves: missing.",)),
    "evaluation": (
        lambda p: p.root / EVALUATION / best(p),
        ("{best}: no scores of training and validation.", "{best}: no example predictions."),
    ),
    "examples": (
        lambda p: p.root / EVALUATION / best(p) / EvaluationFolder.EXAMPLES,
        ("{best}: no example predictions.",),
    ),
    "per image": (
        lambda p: p.root / EVALUATION / best(p) / EvaluationFolder.PER_IMAGE,
        ("{best}: no IoU below its predictions.",),
    ),
    "run": (
        lambda p: p.root / RUNS / best(p),
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


@pytest.mark.parametrize("piece", BREAKAGES)
@pytest.mark.parametrize("broken", [False, True], ids=["gone", "broken"])
def test_a_missing_or_broken_piece_becomes_a_card(project: ReportProject, piece: str, broken: bool) -> None:
    where, expected = BREAKAGES[piece]
    path = where(project)
    for file in [path] if path.is_file() else list(path.rglob("*")):
        if file.is_file() and broken:
            file.write_bytes(b"\xff{[")
    if not broken:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    page = render_report(project.params, project=Project(project.root))
    html = page.path.read_text(encoding="utf-8")
    titles = cards(html)
    assert [f"{notice.title}." for notice in page.faults] == titles
    wanted = {title.format(best=best(project)) for title in expected}
    if broken and piece in ("evaluation", "examples"):  # the folder is there, its pictures are not readable
        wanted -= {f"{best(project)}: no example predictions."}
        wanted |= {f"{best(project)}: no prediction for validation-{row:04d}." for row in range(4)}
    assert wanted <= set(titles)
    assert table_of_runs(html) == [row.run for row in project.summary.runs]
    assert str(project.root) not in html


def test_what_is_missing_is_a_fault_and_what_cannot_be_is_none(project: ReportProject) -> None:
    assert render_report(project.params, project=Project(project.root)).faults == ()
    project.write_summary(replace(project.summary, best=None, best_of_variant=()))
    assert render_report(project.params, project=Project(project.root)).faults == ()
    (project.root / project.params.report.notes_file).write_text("{{ bets.val_loss }}")
    (fault,) = render_report(project.params, project=Project(project.root)).faults
    assert fault.title == "Notes: missing"
    assert "notes.md, line 1: unknown value 'bets'" in fault.text


def test_the_command_says_what_the_page_lacks(project: ReportProject, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project.root)
    shutil.copy(REPOSITORY / "params.yaml", "params.yaml")
    whole = CliRunner().invoke(main, ["report"])
    assert (whole.exit_code, whole.stderr) == (0, "")
    (project.root / COMPARISON / Comparison.CURVES).unlink()
    lacking = CliRunner().invoke(main, ["report"])
    assert lacking.exit_code == 1
    assert lacking.stdout.strip() == str(REPORT)
    assert "Loss curves: missing. comparison/curves.csv is missing. Run `pipeline compare`" in lacking.stderr
    assert "Loss curves: missing." in cards((project.root / REPORT).read_text(encoding="utf-8"))


def test_the_best_the_median_and_the_worst_image_are_shown(project: ReportProject) -> None:
    run = best(project)
    path = project.root / EVALUATION / run / EvaluationFolder.PER_IMAGE
    table = pd.read_csv(path)
    table["loss"] = [0.3, 0.1, 0.4, 0.2]
    table.to_csv(path, index=False)
    examples = part(rendered(project), "examples")
    first = examples.split("</table>", 1)[0]
    assert f"Lowest, median and highest loss of {run}" in first
    assert re.findall(r"(validation-\d+)<br>(\w+), loss ([\d.]+)", first) == [
        ("validation-0001", "best", "0.100"),
        ("validation-0000", "median", "0.300"),
        ("validation-0002", "worst", "0.400"),
    ]
    alone = part(rendered(project, "best"), "examples").split("</table>")
    assert re.findall(r'<span class="label">(validation-\d+)', alone[1]) == ["validation-0003"]  # each once


def test_json_that_lacks_a_key_is_broken_too(project: ReportProject) -> None:
    (project.root / EVALUATION / best(project) / EvaluationFolder.METRICS).write_text("{}")
    (project.root / PREPARED / PreparedData.CLASSES).write_text('{"source": "x"}')
    assert len(cards(rendered(project))) >= 2
    (project.root / COMPARISON / Comparison.SUMMARY).write_text("{}")
    with pytest.raises(PipelineError, match=r"summary\.json .*pipeline compare"):
        rendered(project)


def test_without_a_comparison_there_is_no_page(project: ReportProject) -> None:
    shutil.rmtree(project.root / COMPARISON)
    with pytest.raises(PipelineError, match="pipeline compare"):
        rendered(project)


def test_a_missing_or_wrong_template_is_named(project: ReportProject) -> None:
    (project.root / TEMPLATES / "results.html").write_text("{{ view.nothing }}")
    with pytest.raises(PipelineError, match="nothing"):
        rendered(project)
    (project.root / TEMPLATES / "results.html").unlink()
    with pytest.raises(PipelineError, match=r"results\.html is missing"):
        rendered(project)


def test_a_grid_without_a_best_run_has_a_page(project: ReportProject) -> None:
    project.write_summary(replace(project.summary, best=None, best_of_variant=()))
    html = rendered(project)
    assert "nothing is ranked" in html
    assert "Test scores: nothing to show." in cards(html)


@pytest.mark.parametrize(
    ("iou", "words"), [(0.79, "Cut-out failed."), (0.80, "Clean cut-out."), (None, "Not measured.")]
)
def test_the_page_says_plainly_how_the_cut_out_went(project: ReportProject, iou: float | None, words: str) -> None:
    rows = tuple(replace(row, showcase_iou=iou) for row in project.summary.runs)
    project.write_summary(replace(project.summary, runs=rows))
    assert f"<strong>{words}</strong>" in rendered(project)


def test_a_single_run_has_a_page(make_project: type[ReportProject], tmp_path: Path) -> None:
    project = make_project(tmp_path, variants=("unet",), rates=(0.001,), seeds=(0,), epochs=1, diverged="")
    html = rendered(project)
    assert cards(html) == []
    assert "lowest to highest seed" not in html


def test_only_so_many_runs_have_pictures_and_the_page_says_so(
    project: ReportProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.report.sections.examples.MAX_RUNS", 2)
    html = rendered(project, "unet-0.01-0,unet-0.01-1,unet-0.001-0,unet-0.001-1")
    assert part(html, "examples").count('alt="Prediction for validation-0000 by') == 2
    assert "2 further runs would make the page too large" in html
    assert len(table_of_runs(html)) == 4


def test_examples_are_those_that_all_shown_runs_keep(project: ReportProject) -> None:
    best_of_variant = [item.run for item in project.summary.best_of_variant]
    (project.root / EVALUATION / best_of_variant[0] / EvaluationFolder.EXAMPLES / "validation-0002.png").unlink()
    html = rendered(project)
    assert "Ground truth of validation-0001" in html
    assert "Ground truth of validation-0002" not in html
    assert cards(html) == []


def test_the_page_of_large_images_is_small_enough_to_mail(make_project: type[ReportProject], tmp_path: Path) -> None:
    """Noise compresses badly, and each run's masks of four images are on the page; photographs take a quarter of it."""

    def noise(split: str, row: int, size: int) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng([row, *split.encode()])
        return rng.integers(0, 256, (size, size, 3), np.uint8), disc(split, row, size)[1]

    variants = tuple(f"unet{place}" for place in range(6))
    project = make_project(tmp_path, variants, rates=(0.01,), seeds=(0,), size=768, epochs=2, paint=noise, diverged="")
    html = render_report(project.params, project=Project(project.root)).path.read_text(encoding="utf-8")
    assert cards(html) == []
    assert len(html) < 6_000_000
