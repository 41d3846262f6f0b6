"""The section with metrics by class and the confusion matrix."""

from __future__ import annotations

import base64
import io
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from pipeline.artifacts.prepared_data import SegmentationClass
from pipeline.artifacts.project import Project
from pipeline.artifacts.scores import DistanceScale
from pipeline.report.notices import NothingToShowError
from pipeline.report.sections.metrics import Metrics, build_metrics
from pipeline.report.write_report import write_report
from tests.report.conftest import ReportProject


def build(project: ReportProject, runs: str | None = None) -> Metrics:
    return build_metrics(project.create_context(runs))


def test_section_has_validation_and_test_metrics_of_the_best_run(project: ReportProject) -> None:
    view = build(project)
    best = project.summary.best
    assert best is not None
    assert view.run == best.run
    assert [table.title for table in view.tables] == ["On the validation images", "On the test images"]
    table = project.project.comparison.metrics.query("metric == 'dice' and class_name == 'pet' and split == 'test'")
    assert view.tables[1].rows["pet"][0][0] == f"{table['value'].iloc[0]:.3f}"
    assert any("pet in 1 image." in note for note in view.tables[0].notes)
    assert any("fewer than ten groups" in note for note in view.tables[0].notes)


@pytest.mark.parametrize(
    ("scale", "heading", "explanation", "value", "num_notes"),
    [
        (None, "HD95 (px)", "within the tolerance,", "1.2", 0),
        (DistanceScale("px", 2.0, 1.0, 1.0), "HD95 (px)", "within the tolerance of 2 px,", "1.2", 1),
        (DistanceScale("mm", 0.5, 0.012, 0.03), "HD95 (mm)", "within the tolerance of 0.5 mm,", "1.234", 1),
        (DistanceScale("µm", 2.0, 1.5, 4.0), "HD95 (µm)", "within the tolerance of 2 µm,", "1.2", 2),
        (DistanceScale("m", 2.0, 30.0, 30.0), "HD95 (m)", "within the tolerance of 2 m,", "1", 2),
    ],
)
def test_distances_have_their_unit_and_digits(
    project: ReportProject, scale: DistanceScale | None, heading: str, explanation: str, value: str, num_notes: int
) -> None:
    best, comparison = project.summary.best, project.project.comparison
    assert best is not None
    evaluation = project.project.evaluation(best.run)
    evaluation.write_json(evaluation.METRICS, replace(evaluation.metrics, distances=scale))
    table = comparison.metrics.copy()
    table.loc[table["metric"] == "hd95", "value"] = 1.2344
    comparison.write_table(comparison.METRICS, comparison.METRIC_COLUMNS, table.itertuples(index=False))
    view = build(project)
    headings = dict(view.headings)
    assert heading in headings
    assert explanation in headings["NSD"]
    place = [*headings].index(heading)
    assert [figures[place][0] for figures in view.tables[0].rows.values()] == [value] * 3
    assert len(view.notes) == num_notes


def test_confusion_matrix_has_shares_of_each_true_class(project: ReportProject) -> None:
    matrix = build(project).confusion
    assert matrix is not None
    assert matrix.rows[0] == ("97.8%", "1.1%", "1.1%")
    assert matrix.largest[0] == ("pet", "border", "1.1%", "10")
    assert matrix.map is None
    html = write_report(project.params, project=Project(project.root)).path.read_text(encoding="utf-8")
    assert 'aria-label="Confusion matrix"' in html
    assert ">HD95 (px)</abbr>" in html


def test_classes_are_ordered_by_the_ranked_metric_worst_first(project: ReportProject) -> None:
    path = project.project.comparison.path / project.project.comparison.METRICS
    table = pd.read_csv(path)
    values = {"dice": (0.3, 0.9, 0.6), "hd95": (7.5, 1.0, np.nan)}  # pet, background, border
    for metric, of_classes in values.items():
        for name, value in zip(("pet", "background", "border"), of_classes, strict=True):
            table.loc[(table["metric"] == metric) & (table["class_name"] == name), "value"] = value
    table.to_csv(path, index=False)
    view = build(project)
    assert (view.order, [*view.tables[0].rows]) == ("Dice", ["pet", "border", "background"])
    assert [*view.tables[1].rows] == [*view.tables[0].rows]
    assert json.loads(view.tables[0].keys["pet"])[:2] == ["pet", 0.3]
    project.write_summary(replace(project.summary, rank_by="hd95"))
    view = build(project)
    assert (view.order, [*view.tables[0].rows]) == ("HD95 (px)", ["pet", "background", "border"])  # border: undefined
    assert json.loads(view.tables[0].keys["border"])[8] is None


def test_many_classes_have_a_heat_map_and_a_list_of_confusions_instead_of_a_matrix(
    make_project: type[ReportProject], tmp_path: Path
) -> None:
    classes = tuple(SegmentationClass(f"class {i}", f"#{i * 9000:06x}", i == 0) for i in range(30))

    def paint(_split: str, row: int, size: int) -> tuple[np.ndarray, np.ndarray]:
        """Draw random pixels, with every class in every image."""
        random = np.random.default_rng(row)
        mask = random.permutation(np.arange(size * size) % len(classes)).reshape(size, size).astype(np.uint8)
        return random.integers(0, 255, (size, size, 3)).astype(np.uint8), mask

    project = make_project(tmp_path, paint=paint, classes=classes, variants=("unet",), seeds=(0,), diverged="")
    best, matrix = project.summary.best, np.diag([70] * len(classes))
    assert best is not None
    matrix[3, 4] = 30
    project.project.evaluation(best.run).write_confusion({"validation": matrix}, [item.name for item in classes])
    html = write_report(project.params, project=Project(project.root)).path.read_text(encoding="utf-8")
    assert 'aria-label="Confusion matrix"' not in html
    table = html.partition('aria-label="Largest confusions"')[2].partition("</table>")[0]
    assert re.findall(r"<t[hd][^>]*>([^<]*)</t[hd]>", table)[4:] == ["class 3", "class 4", "30.0%", "30"]
    (data,) = re.findall(r'xlink:href="data:image/png;base64,([^"]+)"', html.partition('class="confusion-map"')[2])
    with Image.open(io.BytesIO(base64.b64decode(re.sub(r"\s", "", data)))) as image:
        opacity = np.asarray(image)[..., 3]
    assert opacity.shape == (30, 30)
    assert (opacity > 0).sum() == 31
    assert opacity[3, 4] == pytest.approx(255 * 0.3**0.5, abs=1)
    assert html.count('class="scroll tall"') == 3  # metrics on validation and test, and the gap


def test_class_without_pixels_has_dashes(project: ReportProject) -> None:
    best = project.summary.best
    assert best is not None
    evaluation = project.project.evaluation(best.run)
    evaluation.write_confusion(
        {"validation": np.array([[5, 1, 0], [2, 90, 0], [0, 0, 0]])}, ["pet", "background", "border"]
    )
    matrix = build(project).confusion
    assert matrix is not None
    assert matrix.rows[2] == ("–", "–", "–")


def test_page_without_the_best_run_of_a_variant_has_no_metrics(project: ReportProject) -> None:
    best = {selection.run for selection in project.summary.best_of_variant}
    other = next(row.run for row in project.rows if row.run not in best and row.status == "finished")
    with pytest.raises(NothingToShowError, match="best run of each variant"):
        build(project, other)
    html = write_report(project.params, other, project=Project(project.root)).path.read_text(encoding="utf-8")
    assert re.search(r"Metrics by class: nothing to show", html)
