"""The section on objects: its numbers are those of the evaluation, and outlines show each kind of object."""

from __future__ import annotations

import base64
import io
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from numpy.lib.format import open_memmap
from PIL import Image, ImageColor

from pipeline.analysis.objects import ObjectKind, match_objects
from pipeline.artifacts.prepared_data import PreparedData
from pipeline.artifacts.project import PREPARED, REPORTS, Project
from pipeline.compare.compare_runs import compare
from pipeline.evaluate.evaluate_run import evaluate_run
from pipeline.number_format import format_number
from pipeline.params import Evaluation, Params
from pipeline.params.file import read_params
from pipeline.prepare.prepare_data import prepare
from pipeline.report.figures import object_outlines
from pipeline.report.figures.object_outlines import FALSE, LEGEND, MATCHED, MERGED, MISSED, SPLIT
from pipeline.report.images import EmbeddedImage, Frame
from pipeline.report.notices import NothingToShowError
from pipeline.report.page_context import PageContext
from pipeline.report.run_selection import select_runs
from pipeline.report.sections.objects import HEADINGS, Objects, build_objects
from pipeline.report.write_report import write_report
from pipeline.train.train_cell import train_cell
from tests.conftest import ROOT, TRAINED
from tests.nuclei import write_nuclei, write_nuclei_params


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a run that is trained on nuclei, evaluated and compared."""
    root = tmp_path_factory.mktemp("nuclei")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        shutil.copytree(ROOT / REPORTS, root / REPORTS, ignore=shutil.ignore_patterns("*.html.bak"))
        write_nuclei(Path("nuclei"))
        params = write_nuclei_params(root, grid={"variant": ["unet"], "learning_rate": [0.01], "seed": [0]})
        prepare(params)
        train_cell(params.cell("unet", 0.01, 0))
        evaluate_run(params, TRAINED)
        compare(params)
    return root


@pytest.fixture
def nuclei(evaluated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Params:
    """A copy of the project, as the current folder."""
    shutil.copytree(evaluated, tmp_path / "project")
    monkeypatch.chdir(tmp_path / "project")
    return read_params()


def build(params: Params) -> Objects:
    project = Project()
    context = PageContext(project, params.data, select_runs(project.comparison.summary, None))
    view = build_objects(context)
    assert view is not None
    return view


def decode(image: EmbeddedImage) -> np.ndarray:
    content = base64.b64decode(image.src.partition(",")[2])
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB")).astype(int)


def count_pixels(drawn: np.ndarray, color: str) -> int:
    """Count the pixels that are close to a color, since WebP changes colors slightly."""
    return int((np.abs(drawn - ImageColor.getrgb(color)).max(axis=-1) < 40).sum())


def test_objects_section_has_the_scores_of_the_evaluation(nuclei: Params) -> None:
    view, found = build(nuclei), Project().evaluation(TRAINED).metrics.objects
    assert found is not None
    row = dict(zip(HEADINGS, view.rows[0].figures, strict=True))
    scores = found.validation
    assert view.rows[0].is_leading
    assert row["F1"] == format_number(scores.f1)
    assert row["AP at IoU 0.5"] == format_number(scores.average_precision)
    assert row["PQ"] == format_number(scores.panoptic_quality)
    assert (row["Merges"], row["Missed"]) == (str(scores.merges), str(scores.missed))
    assert scores.f1 is not None
    assert found.train.f1 is not None
    assert row["Gap in F1"] == format_number(found.train.f1 - scores.f1)
    assert view.rows[-1].name == "Highest possible"
    assert view.problems == ()
    assert "those of the masks or annotations" in view.source


def test_objects_section_shows_the_worst_images(nuclei: Params) -> None:
    view = build(nuclei)
    rows = Project().evaluation(TRAINED).read_objects().query("split == 'validation'")
    worst = rows.dropna(subset=["panoptic_quality"]).sort_values("panoptic_quality", kind="stable")
    assert [image.id for image in view.worst] == worst["id"].head(2).tolist()
    for image in view.worst:
        assert image.ground_truth.width == image.prediction.width >= 512
        assert image.ground_truth.alt != image.prediction.alt


def test_report_of_objects_is_complete_without_javascript(nuclei: Params) -> None:
    rendered = write_report(nuclei, project=Project())
    text = rendered.path.read_text(encoding="utf-8")
    assert rendered.faults == ()
    section = re.search(r'<section id="objects">.*?</section>', text, re.DOTALL)
    assert section is not None
    for entry in LEGEND:
        assert entry.text in section[0]
        assert f'fill="{entry.color}"' in section[0]
    assert section[0].count("<img") == 6
    assert "http" not in re.sub(r'src="data:[^"]*"', "", section[0])
    assert write_report(nuclei, project=Project()).path.read_text(encoding="utf-8") == text


def test_report_of_data_without_objects_has_no_section(nuclei: Params) -> None:
    evaluate_run(nuclei.model_copy(update={"evaluation": Evaluation(examples=2, objects=[])}), TRAINED)
    text = write_report(nuclei, project=Project()).path.read_text(encoding="utf-8")
    assert '<section id="objects">' not in text


def test_objects_section_with_a_missing_table_shows_a_notice(nuclei: Params) -> None:
    (Project().evaluation(TRAINED).path / "objects.csv").unlink()
    view = build(nuclei)
    assert (view.worst, len(view.rows)) == ((), 2)
    assert "objects.csv is missing" in view.problems[0].text


def test_objects_section_without_objects_is_one_sentence(nuclei: Params) -> None:
    for name in (PreparedData.MASKS, PreparedData.INSTANCES):
        open_memmap(PREPARED / "validation" / name, "r+")[:] = 0
    none_predicted = Evaluation(examples=2, min_object_area=64**2 + 1)
    evaluate_run(nuclei.model_copy(update={"evaluation": none_predicted}), TRAINED)
    with pytest.raises(NothingToShowError, match=r"^Neither the ground truth nor the prediction .* are undefined\.$"):
        build(nuclei)


def test_outlines_have_the_color_of_each_kind() -> None:
    truth, prediction = (np.zeros((64, 64), np.int32) for _ in range(2))
    truth[4:16, 4:16] = prediction[4:16, 4:16] = 1  # matched
    truth[4:16, 30:42] = 2  # missed
    prediction[4:16, 48:60] = 3  # false
    truth[30:42, 4:16], truth[30:42, 16:28], prediction[30:42, 4:28] = 4, 5, 4  # merged
    truth[30:42, 34:58], prediction[30:42, 34:46], prediction[30:42, 46:58] = 6, 6, 7  # split
    matches, frame = match_objects(truth, prediction), Frame(64, 64, "stretch")
    assert set(matches.true_kinds.tolist()) == set(ObjectKind)
    image = np.full((64, 64, 1), 120, np.uint8)
    true = decode(object_outlines.draw_true_outlines(image, truth, matches, "", frame))
    predicted = decode(object_outlines.draw_predicted_outlines(image, truth, prediction, matches, "", frame))
    assert all(count_pixels(true, color) > 100 for color in (MATCHED, MISSED, MERGED, SPLIT))
    assert count_pixels(true, FALSE) == 0
    assert all(count_pixels(predicted, entry.color) > 100 for entry in LEGEND)
    assert count_pixels(true, MISSED) < 0.8 * count_pixels(true, MATCHED)  # dashed


def test_outlines_of_an_image_without_objects_are_the_image() -> None:
    none = np.zeros((20, 30), np.int32)
    matches, frame = match_objects(none, none), Frame(20, 30, "stretch")
    drawn = decode(
        object_outlines.draw_predicted_outlines(np.full((20, 30, 1), 90, np.uint8), none, none, matches, "", frame)
    )
    assert np.abs(drawn - 90).max() < 8
