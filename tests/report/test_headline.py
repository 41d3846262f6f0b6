"""The header's claims for data with one and with several foreground classes."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.artifacts.comparison import Comparison
from pipeline.artifacts.evaluation_folder import EvaluationFolder
from pipeline.artifacts.prepared_data import PreparedData, SegmentationClass
from pipeline.artifacts.project import COMPARISON, EVALUATION, PREPARED, Project
from pipeline.artifacts.scores import MissedClass
from pipeline.atomic_io import to_json, write_text
from pipeline.imaging import IGNORE
from pipeline.report.write_report import write_report
from tests.report.conftest import ReportProject, draw_disc, render_header

STREET = tuple(SegmentationClass(name, f"#{60 * n:02x}80c0", n > 0) for n, name in enumerate(("void", "car", "pole")))
MEMBRANES = (SegmentationClass("membrane", "#d98c21", True), SegmentationClass("cell", "#2e5a6b", False))


def draw_stripes(split: str, row: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw thin lines in both directions, with a few ignored pixels."""
    y, x = np.indices((size, size))
    mask = np.where(((y + row) % 8 == 0) | (x % 8 == 0), 0, 1).astype(np.uint8)
    mask[0, :2] = IGNORE
    return draw_disc(split, row, size)[0], mask


def render(project: ReportProject, selection: str | None = None) -> str:
    return write_report(project.params, selection, project=Project(project.root)).path.read_text(encoding="utf-8")


def get_header(page: str) -> str:
    return page.partition("<nav")[0]


@pytest.fixture
def street(make_project: type[ReportProject], tmp_path: Path) -> ReportProject:
    return make_project(tmp_path, classes=STREET, paint=draw_disc)


def test_several_foreground_classes_are_summarized_by_mean_iou(street: ReportProject) -> None:
    page = render(street)
    best = next(row for row in street.rows if street.summary.best and row.run == street.summary.best.run)
    assert best.showcase_mean_iou is not None
    assert f"<strong>Mean IoU {best.showcase_mean_iou:.3f}.</strong>" in get_header(page)
    assert "Mean IoU over the 3 classes of the validation images is " in get_header(page)
    assert "cut out" not in get_header(page).lower()
    assert "The number below each pair is the mean IoU" in page
    assert "wrong foreground class" in page
    assert "wrong class outside the foreground" not in page  # only one class is not foreground


def test_missed_classes_are_in_the_header_and_both_tables(street: ReportProject) -> None:
    missed = (MissedClass("pole", 0.0, is_predicted=False),)
    rows = tuple(replace(row, missed_classes=missed) for row in street.summary.runs)
    settings = tuple(replace(setting, missed_classes=1.0) for setting in street.summary.settings)
    street.write_summary(replace(street.summary, runs=rows, settings=settings))
    sentence = "Missed classes: unet at 0.001 misses 1 of the 3 classes: pole (never predicted)."
    findings = [{"id": "missed_classes", "sentence": sentence, "runs": []}]
    write_text(street.root / COMPARISON / Comparison.FINDINGS, to_json({"findings": findings}))
    page = render(street)
    assert f'<p class="missed">{sentence}</p>' in get_header(page)
    assert '<span class="label">misses on average 1 class</span>' in page
    assert '<span class="label">misses 1 class</span>' in page
    assert "IoU below 0.05 on validation" in page


@pytest.mark.parametrize("iou", [0.31, 0.99])
def test_header_does_not_call_thin_structures_a_cutout(
    make_project: type[ReportProject], tmp_path: Path, iou: float
) -> None:
    project = make_project(tmp_path, classes=MEMBRANES, paint=draw_stripes)
    rows = tuple(replace(row, showcase_iou=iou) for row in project.summary.runs)
    project.write_summary(replace(project.summary, runs=rows))
    header = get_header(render_header(project))
    assert f"<strong>IoU of membrane {iou:.3f}.</strong>" in header
    assert "cut out" not in header.lower()
    assert "cut-out" not in header.lower()
    assert "ignored pixels" in header


def test_scores_do_not_repeat_the_iou_of_the_only_foreground_class(
    make_project: type[ReportProject], tmp_path: Path
) -> None:
    page = render(make_project(tmp_path, classes=MEMBRANES, paint=draw_stripes))
    table = page.partition('aria-label="Scores by split"')[2].partition("</thead>")[0]
    assert "IoU of membrane" in table
    assert "Foreground IoU" not in table  # it would repeat the same number


def test_boundary_class_adds_the_iou_of_the_object(project: ReportProject) -> None:
    best = project.summary.best
    assert best is not None
    assert best.test is not None
    assert "with border" not in render(project)
    rows = tuple(replace(row, val_object_iou=0.876) for row in project.summary.runs)
    test = replace(best.test, object_iou=0.865)
    project.write_summary(replace(project.summary, runs=rows, best=replace(best, test=test), boundary=("border",)))
    page = render(project)
    assert "the IoU of pet with border 0.876" in get_header(page)
    table = page.partition('aria-label="Scores by split"')[2].partition("</table>")[0]
    assert "IoU of pet with border" in table
    assert "0.865" in table


def test_selection_shows_predictions_of_its_own_runs_only(project: ReportProject) -> None:
    best = project.summary.best
    assert best is not None
    others = [row.run for row in project.rows if row.variant != best.variant and row.status == "finished"]
    page = render(project, others[0])
    showcase = get_header(page).partition('class="showcase"')[2]
    assert others[0] in showcase
    assert best.run not in showcase
    assert f"Predictions of {others[0]} for the showcase" in page
    assert f"Only {best.run}, which was chosen on validation, has test scores" in page
    assert f"run key of {others[0]}" in page


def test_verdict_names_the_loss_curve(project: ReportProject) -> None:
    assert "By its loss curve, " in render(project)


def test_foreground_iou_is_omitted_if_every_class_is_foreground(
    make_project: type[ReportProject], tmp_path: Path
) -> None:
    classes = tuple(replace(item, foreground=True) for item in STREET)
    project = make_project(tmp_path, classes=classes, paint=draw_disc)
    assert "Foreground IoU" in render(project)
    rows = tuple(replace(row, val_foreground_iou=None) for row in project.summary.runs)
    best = project.summary.best
    assert best is not None
    assert best.test is not None
    test = replace(best.test, foreground_iou=None)
    project.write_summary(replace(project.summary, runs=rows, best=replace(best, test=test)))
    scores = Project(project.root).evaluation(best.run).metrics
    assert scores.train is not None
    assert scores.validation is not None
    splits = {split: replace(getattr(scores, split), foreground_iou=None) for split in ("train", "validation")}
    write_text(project.root / EVALUATION / best.run / EvaluationFolder.METRICS, to_json(replace(scores, **splits)))
    assert "Foreground IoU" not in render(project)


def test_composites_are_not_cropped_to_the_background_size(project: ReportProject) -> None:
    """`samples.csv` has the size of the background; a composite shows a square part of it."""
    before = render(project)
    path = project.root / PREPARED / PreparedData.SAMPLES
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    table["height"], table["width"] = "256", "384"
    table.to_csv(path, index=False)
    images = [set(re.findall(r'src="data:image[^"]+"', page)) for page in (before, render(project))]
    assert images[0] == images[1]
