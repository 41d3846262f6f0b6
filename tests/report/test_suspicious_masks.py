"""The section on masks that may be wrong."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from pipeline.artifacts.prepared_data import PreparedData
from pipeline.artifacts.project import Project
from pipeline.report.notices import NothingToShowError
from pipeline.report.sections.suspicious_masks import MAX_SHOWN, SuspiciousMasks, build_suspicious_masks
from pipeline.report.write_report import write_report
from tests.report.conftest import ReportProject

TITLE = "Where masks may be wrong"


@pytest.fixture
def project(tmp_path: Path) -> ReportProject:
    """A project whose masks can be wrong."""
    project = ReportProject(tmp_path)
    project.edit_json(Path("data/prepared") / PreparedData.CLASSES, source="image_mask_folder")
    return project


def list_seeds(project: ReportProject) -> list[str]:
    best = project.summary.best
    assert best is not None
    return [row.run for row in project.summary.list_runs(best)]


def write_masks(project: ReportProject, scores: Sequence[float], kept_by: int = -1) -> None:
    """Write the ranking of the first masks; the seed `kept_by` keeps the predictions."""
    ids = [(name, split) for split in ("train", "validation") for name in project.ids(split)]
    comparison = project.project.comparison
    rows = [(*one, score, score, score, 0.4) for one, score in zip(ids, scores, strict=False)]
    comparison.write_table(comparison.SUSPICIOUS_MASKS, comparison.SUSPICIOUS_MASK_COLUMNS, rows)
    evaluation = project.project.evaluation(list_seeds(project)[kept_by])
    masks = {(split, name): project.masks[split, project.ids(split).index(name)] for name, split, *_ in rows}
    evaluation.write_contradicted({name: mask.clip(0, 2) for (_, name), mask in masks.items()})


def build(project: ReportProject, runs: str | None = None) -> SuspiciousMasks:
    view = build_suspicious_masks(project.create_context(runs))
    assert view is not None
    return view


def test_section_shows_suspicious_masks_in_order(project: ReportProject) -> None:
    write_masks(project, [0.9, 0.5, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1])
    view = build(project)
    assert [sample.id for sample in view.samples] == ["train-0000", "train-0001"]
    assert view.samples[0].note == "training, score 0.90"
    assert view.sentence.startswith("2 masks of 10 training and validation images are suspicious: all 2 runs of ")
    assert "cannot be estimated" in view.advice
    html = write_report(project.params, project=Project(project.root)).path.read_text(encoding="utf-8")
    assert TITLE in html
    assert 'aria-label="Suspicious masks"' in html
    assert 'alt="Ground truth of train-0000"' in html


def test_section_without_suspicious_masks_is_one_sentence(project: ReportProject) -> None:
    write_masks(project, [0.1] * 10)
    view = build(project)
    assert view.sentence.startswith("No mask is suspicious: ")
    assert not view.samples
    assert not view.advice
    report = write_report(project.params, project=Project(project.root))
    assert not report.faults
    section = report.path.read_text(encoding="utf-8").split('<section id="masks">')[1].split("</section>")[0]
    assert section.count("<p") == 1
    assert "<table" not in section


def test_section_with_many_suspicious_masks_doubts_the_networks(project: ReportProject) -> None:
    write_masks(project, [0.8] * 10)
    view = build(project)
    assert len(view.samples) == MAX_SHOWN
    assert "100.0% of the masks are suspicious, the networks are probably wrong" in view.advice


def test_section_shows_the_prediction_of_another_seed_if_the_best_run_keeps_none(project: ReportProject) -> None:
    seeds = list_seeds(project)
    for kept_by in range(len(seeds)):
        write_masks(project, [0.9] + [0.1] * 9, kept_by)
    (shot,) = build(project).samples[0].predictions
    assert shot is not None
    assert shot.score == project.summary.best.run  # type: ignore[union-attr]
    for run in seeds:
        (project.root / "evaluation" / run / "contradicted/train-0000.png").unlink()
    view = build(project)
    assert not view.samples
    assert [problem.title for problem in view.problems] == ["The mask of train-0000 is not shown"]


def test_report_of_composites_has_no_section(tmp_path: Path) -> None:
    project = ReportProject(tmp_path)
    html = write_report(project.params, project=Project(project.root)).path.read_text(encoding="utf-8")
    assert TITLE not in html


def test_page_without_the_best_run_has_nothing_to_show(project: ReportProject) -> None:
    write_masks(project, [0.9] * 10)
    other = next(row.run for row in project.rows if row.run not in list_seeds(project) and row.status == "finished")
    with pytest.raises(NothingToShowError, match="best setting"):
        build(project, other)


def test_report_without_the_ranking_has_a_notice(project: ReportProject) -> None:
    report = write_report(project.params, project=Project(project.root))
    assert any(TITLE in notice.title for notice in report.faults)
