"""The section on more training images."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.artifacts.learning_curve import FittedCurve, LearningCurve, PredictedLoss
from pipeline.artifacts.project import Project
from pipeline.report.sections.learning_curves import MAX_CURVES, MoreImages, build_learning_curves
from pipeline.report.write_report import write_report
from tests.report.conftest import ReportProject

VARIANTS = ("images_20", "images_40", "images_80")
FIT = FittedCurve(
    points=(
        PredictedLoss(20, 0.6, 0.58, 0.62),
        PredictedLoss(80, 0.4, 0.38, 0.42),
        PredictedLoss(160, 0.35, 0.31, 0.39),
    ),
    held_out=PredictedLoss(80, 0.41, 0.37, 0.45),
)
CURVE = LearningCurve(
    variants=VARIANTS,
    learning_rate=0.01,
    images=(20, 40, 80),
    losses=((0.59, 0.61), (0.48, 0.5), (0.39, 0.41)),
    available=80,
    fit=FIT,
)


@pytest.fixture
def project(tmp_path: Path) -> ReportProject:
    return ReportProject(tmp_path, variants=VARIANTS, diverged="")


def build(project: ReportProject, *curves: LearningCurve, runs: str | None = None) -> MoreImages | None:
    project.write_summary(replace(project.summary, learning_curves=curves))
    return build_learning_curves(project.create_context(runs))


def test_table_has_the_measured_and_the_predicted_losses(project: ReportProject) -> None:
    view = build(project, CURVE)
    assert view is not None
    (panel,) = view.panels
    assert [(line.images, line.source) for line in panel.lines] == [
        ("20", "images_20"),
        ("40", "images_40"),
        ("80", "images_80"),
        ("80", "predicted without images_80"),
        ("160", "predicted"),
    ]
    assert panel.lines[0].loss == "0.600\u00a0±\u00a00.014"
    assert (panel.lines[-1].loss, panel.lines[-1].interval) == ("0.350", "0.310 to 0.390")
    assert panel.note == ""


def test_figure_has_a_tick_for_every_number_of_images_and_the_prediction(project: ReportProject) -> None:
    view = build(project, CURVE)
    assert view is not None
    texts = [text.strip() for text in re.findall(r"<text[^>]*>([^<]*)</text>", view.panels[0].figure)]
    assert {"20", "40", "80", "160", "training images"} <= {*texts}


def test_curve_without_a_fit_states_the_reason(project: ReportProject) -> None:
    view = build(project, replace(CURVE, fit=None, reason="the loss rises from 20 to 40 images"))
    assert view is not None
    assert not view.has_fit
    assert view.panels[0].note == "The loss with more images cannot be predicted: the loss rises from 20 to 40 images."
    assert len(view.panels[0].lines) == 3


def test_wrong_prediction_for_the_most_images_is_noted(project: ReportProject) -> None:
    view = build(project, replace(CURVE, fit=replace(FIT, held_out=PredictedLoss(80, 0.3, 0.28, 0.32))))
    assert view is not None
    assert "does not predict the loss at 80 images" in view.panels[0].note


def test_page_has_the_section_only_if_it_shows_a_whole_curve(project: ReportProject) -> None:
    assert build(project) is None
    assert build(project, CURVE, runs="images_20-*,images_40-*") is None
    assert build(project, CURVE) is not None
    html = write_report(project.params, project=Project(project.root)).path.read_text(encoding="utf-8")
    assert '<section id="more_images">' in html
    assert 'role="img" aria-label="Learning curve of images_20 to images_80 at 0.01' in html


def test_many_curves_are_limited_and_have_unique_ids(project: ReportProject) -> None:
    view = build(project, *[CURVE] * (MAX_CURVES + 2))
    assert view is not None
    assert (len(view.panels), view.num_omitted) == (MAX_CURVES, 2)
    ids = [name for panel in view.panels for name in re.findall(r'\bid="([^"]*)"', panel.figure)]
    assert len(ids) == len({*ids})
