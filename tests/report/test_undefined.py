"""Reports of runs whose scores are undefined, or no better than predicting one class everywhere."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from pipeline.artifacts.evaluation_folder import EvaluationFolder
from pipeline.artifacts.prepared_data import SHOWCASE, SegmentationClass
from pipeline.artifacts.project import EVALUATION, SHOWCASE_PREDICTIONS, Project
from pipeline.artifacts.showcase_predictions import ShowcaseList, ShowcasePredictions, ShowcaseResult
from pipeline.atomic_io import to_json
from pipeline.params import ShowcaseImage
from pipeline.report.write_report import write_report
from tests.report.conftest import ReportProject, draw_disc, render_header

FOREGROUND, BACKGROUND = 0, 1


def draw_without_foreground(split: str, row: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw discs, but only background in the showcase and the first validation image."""
    image, mask = draw_disc(split, row, size)
    is_negative = split == SHOWCASE or (split, row) == ("validation", 0)
    return image, np.full_like(mask, BACKGROUND) if is_negative else mask


def render(project: ReportProject) -> str:
    return write_report(project.params, project=Project(project.root)).path.read_text(encoding="utf-8")


def write_predictions(project: ReportProject, sample: str, foreground: int, iou: float | None) -> None:
    """Let every run predict `foreground` pixels of foreground in a sample, with this IoU."""
    mask = np.full((project.size, project.size), BACKGROUND, np.uint8)
    mask.ravel()[:foreground] = FOREGROUND
    for row in project.rows:
        folder = project.root / EVALUATION / row.run
        Image.fromarray(mask).save(folder / EvaluationFolder.EXAMPLES / f"{sample}.png")
        table = pd.read_csv(folder / EvaluationFolder.PER_IMAGE)
        table.loc[table["id"] == sample, "foreground_iou"] = iou
        table.to_csv(folder / EvaluationFolder.PER_IMAGE, index=False)


@pytest.fixture
def project_without_foreground(make_project: type[ReportProject], tmp_path: Path) -> ReportProject:
    return make_project(tmp_path, paint=draw_without_foreground)


@pytest.mark.parametrize(
    ("foreground", "iou", "verdict", "detail"),
    [
        (0, None, "No foreground, none predicted", "so IoU of pet is undefined."),
        (64, 0.0, "False positive", "but 6.2% of its pixels were predicted as foreground: IoU of pet 0."),
    ],
)
def test_showcase_without_foreground_is_no_failed_cutout(
    project_without_foreground: ReportProject, foreground: int, iou: float | None, verdict: str, detail: str
) -> None:
    write_predictions(project_without_foreground, project_without_foreground.ids(SHOWCASE)[0], foreground, iou)
    rows = tuple(replace(row, showcase_iou=iou) for row in project_without_foreground.summary.runs)
    project_without_foreground.write_summary(replace(project_without_foreground.summary, runs=rows))
    page = render_header(project_without_foreground)
    assert f"<strong>{verdict}.</strong>" in page
    assert detail in page
    assert "Cut-out failed" not in page


@pytest.mark.parametrize(
    ("foreground", "iou", "words"),
    [(0, None, "no foreground, none predicted"), (64, 0.0, "IoU 0.00: no foreground, some predicted")],
)
def test_example_without_foreground_states_its_score(
    project_without_foreground: ReportProject, foreground: int, iou: float | None, words: str
) -> None:
    write_predictions(project_without_foreground, "validation-0000", foreground, iou)
    assert f'<span class="label">{words}</span>' in render(project_without_foreground)


def test_image_without_evaluated_pixels_is_no_example(project: ReportProject) -> None:
    for row in project.rows:
        path = project.root / EVALUATION / row.run / EvaluationFolder.PER_IMAGE
        table = pd.read_csv(path)
        table["loss"] = [None, 0.1, 0.2, 0.3]
        table.to_csv(path, index=False)
    page = render(project)
    for sample, note in (("0001", "best, loss 0.100"), ("0002", "median, loss 0.200"), ("0003", "worst, loss 0.300")):
        assert f"validation-{sample}<br>{note}" in page


def test_best_setting_below_the_baseline_is_no_result(project: ReportProject) -> None:
    best = project.summary.best
    assert best is not None
    assert "learned best" in render(project)
    best_setting = best.setting
    settings = tuple(
        replace(setting, beats_baseline=float(setting.setting != best_setting)) for setting in project.summary.settings
    )
    rows = tuple(
        replace(row, judgment=replace(row.judgment, beats_baseline=row.run != best.run))
        for row in project.summary.runs
        if row.judgment
    )
    project.write_summary(replace(project.summary, settings=settings, runs=rows))
    page = render(project)
    assert "No result: " in page
    assert "(one class: 0.200)" in page
    assert "learned best" not in page.partition("<nav")[0]
    labels = page.count('<span class="label">no better than predicting one class everywhere</span>')
    assert labels == 2  # in the grid and in the table of all runs


def test_table_of_many_classes_has_them_as_rows(make_project: type[ReportProject], tmp_path: Path) -> None:
    classes = tuple(SegmentationClass(f"class {n}", f"#0000{n:02x}", foreground=n == 0) for n in range(150))

    def paint(split: str, row: int, size: int) -> tuple[np.ndarray, np.ndarray]:
        return draw_disc(split, row, size)[0], (np.arange(size * size) % 150).astype(np.uint8).reshape(size, size)

    project = make_project(tmp_path, classes=classes, seeds=(0,), diverged="", paint=paint)
    page = render(project)
    table = page.partition('aria-label="IoU by class"')[2].partition("</table>")[0]
    assert table.count("<tr>") == 151
    head = page.partition('aria-label="Scores by split"')[2].partition("</thead>")[0]
    assert head.count("<th ") == 4  # images, loss, accuracy, mean IoU
    assert "and 138 more" in page


@pytest.mark.parametrize(
    ("iou", "mask", "score"),
    [
        (0.5, FOREGROUND, "IoU of pet 0.500."),
        (0.0, BACKGROUND, "IoU of pet 0.000: the image has no foreground."),
        (None, BACKGROUND, "The image has no foreground, and none was predicted: IoU of pet is undefined."),
        (None, None, ""),
    ],
)
def test_showcase_caption_states_undefined_scores(
    project: ReportProject, iou: float | None, mask: int | None, score: str
) -> None:
    best = project.summary.best
    assert best is not None
    folder = project.root / SHOWCASE_PREDICTIONS
    folder.mkdir()
    arrays = {"image": np.zeros((8, 8, 3), np.uint8), "prediction": np.full((8, 8), BACKGROUND, np.uint8)}
    if mask is not None:
        arrays["truth"] = np.full((8, 8), mask, np.uint8)
    np.savez(folder / f"{0}.npz", **arrays)
    result = ShowcaseResult("a.png", "A", None if mask is None else "b.png", iou, iou)
    (folder / ShowcasePredictions.LIST).write_text(to_json(ShowcaseList(best.run, (result,))))
    entry = {"file": "a.png", "title": "A", "mask": result.mask}
    report = project.params.report.model_copy(update={"showcase": [ShowcaseImage(**entry)]})
    project.params = project.params.model_copy(update={"report": report})
    caption = "A, an image from outside the data."
    assert f"<figcaption>{caption}{' ' + score if score else ''}</figcaption>" in render_header(project)
