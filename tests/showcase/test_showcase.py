"""Predictions of the user's showcase images by the best run."""

from __future__ import annotations

import csv
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline.artifacts.evaluation_folder import EvaluationFolder
from pipeline.artifacts.prepared_data import SHOWCASE, PreparedData
from pipeline.artifacts.project import EVALUATION, PREPARED, SHOWCASE_IMAGES, SHOWCASE_PREDICTIONS, TEMPLATES
from pipeline.artifacts.showcase_predictions import ShowcasePredictions
from pipeline.atomic_io import to_json
from pipeline.compare.compare_runs import compare
from pipeline.errors import PipelineError
from pipeline.evaluate.evaluate_run import evaluate_run
from pipeline.imaging.mask_to_classes import MaskEncoding
from pipeline.imaging.resize import FixedSize
from pipeline.inference.preprocessing import Preprocessing
from pipeline.params import Params, ShowcaseImage
from pipeline.params.file import check_params, read_params
from pipeline.prepare.prepare_data import prepare
from pipeline.report.write_report import write_report
from pipeline.showcase.predict_showcase import predict_showcase
from pipeline.showcase.showcase_image import read_showcase_image
from pipeline.train.train_cell import train_cell
from tests.conftest import ROOT, TRAINED, load_shipped_params, write_params
from tests.discs import CLASSES
from tests.discs import DATA as DISCS
from tests.nuclei import COCO_SECTION, SECTION, SIDE, annotate_nuclei, write_nuclei, write_nuclei_params

GRID = {"variant": ["unet"], "learning_rate": [0.01], "seed": [0]}


@pytest.fixture
def project(trained_copy: Path) -> Path:
    """A compared project with one run and a folder for showcase images, as the current folder."""
    (trained_copy / SHOWCASE_IMAGES).mkdir(parents=True)
    return trained_copy


def write_showcase(project: Path, *entries: dict[str, str]) -> Params:
    return read_params(write_params(project, {"grid": GRID, "report": {"showcase": list(entries)}}))


def train_on_nuclei(root: Path, section: dict[str, Any]) -> Params:
    """Train and compare one run in the current folder."""
    params = write_nuclei_params(root, GRID, {**section, "image_size": 32})
    prepare(params)
    train_cell(params.cell("unet", 0.01, 0))
    evaluate_run(params, TRAINED)
    compare(params)
    SHOWCASE_IMAGES.mkdir(parents=True)
    return params


def with_showcase(params: Params, *images: ShowcaseImage) -> Params:
    return params.model_copy(update={"report": params.report.model_copy(update={"showcase": list(images)})})


def save_noise(project: Path, name: str, width: int, height: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(project / SHOWCASE_IMAGES / name)


def test_predict_showcase_of_a_prepared_image_has_the_same_score(project: Path) -> None:
    """The prepared showcase image as a user's image gives the same mask and IoU."""
    prepared = project / PREPARED / SHOWCASE
    image, ground_truth = np.load(prepared / PreparedData.IMAGES)[0], np.load(prepared / PreparedData.MASKS)[0]
    Image.fromarray(image).save(project / SHOWCASE_IMAGES / "dog.png")
    Image.fromarray(ground_truth).save(project / SHOWCASE_IMAGES / "dog-mask.png")
    results = predict_showcase(write_showcase(project, {"file": "dog.png", "mask": "dog-mask.png", "title": "Our dog"}))
    evaluated = EvaluationFolder(project / EVALUATION / TRAINED).metrics
    assert results.run == TRAINED
    (dog,) = results.images
    assert (dog.title, dog.iou) == ("Our dog", pytest.approx(evaluated.showcase[0].foreground_iou))
    assert ShowcasePredictions(project / SHOWCASE_PREDICTIONS).list == results
    with np.load(project / SHOWCASE_PREDICTIONS / "0.npz") as arrays:
        assert np.array_equal(arrays["image"], image)
        assert np.array_equal(arrays["truth"], ground_truth)
        (kept,) = (project / EVALUATION / TRAINED / EvaluationFolder.EXAMPLES).glob("showcase-*.png")
        assert np.array_equal(arrays["prediction"], np.asarray(Image.open(kept)))


@pytest.mark.parametrize(("channels", "bits"), [(3, 8), (1, 8), (1, 16)])
@pytest.mark.parametrize("stored", ["gray 8", "gray 16", "color 8"])
def test_read_showcase_image_converts_to_the_bit_depth_of_the_network(
    project: Path, channels: int, bits: int, stored: str
) -> None:
    gray = np.random.default_rng(0).integers(0, 256, (32, 32), dtype=np.uint8)
    pixels = {"gray 8": gray, "gray 16": gray.astype(np.uint16) * 257, "color 8": np.stack([gray] * 3, axis=-1)}
    Image.fromarray(pixels[stored]).save(project / "image.png")
    preprocessing = Preprocessing(FixedSize((32, 32), "letterbox"), channels, bits)
    image = read_showcase_image(
        ShowcaseImage(file="image.png"), project, preprocessing, MaskEncoding.from_values([[0], [1]], [])
    )
    expected = gray if bits == 8 else gray.astype(np.uint16) * 257
    assert image.network_input.dtype == expected.dtype
    assert np.array_equal(image.network_input, np.stack([expected] * channels, axis=-1))


def test_16_bit_and_8_bit_showcase_images_have_the_same_mask(project: Path) -> None:
    gray = np.random.default_rng(0).integers(0, 256, (40, 60), dtype=np.uint8)
    Image.fromarray(gray).save(project / SHOWCASE_IMAGES / "bytes.png")
    Image.fromarray(gray.astype(np.uint16) * 257).save(project / SHOWCASE_IMAGES / "deep.png")
    predict_showcase(write_showcase(project, {"file": "bytes.png"}, {"file": "deep.png"}))
    with (
        np.load(project / SHOWCASE_PREDICTIONS / "0.npz") as from_8_bits,
        np.load(project / SHOWCASE_PREDICTIONS / "1.npz") as from_16_bits,
    ):
        assert np.array_equal(from_8_bits["prediction"], from_16_bits["prediction"])
        assert from_16_bits["image"].shape == (40, 60, 1)


@pytest.mark.parametrize(("width", "height"), [(900, 300), (40, 120), (7, 7), (3000, 20)])
def test_predict_showcase_keeps_the_aspect_ratio(project: Path, width: int, height: int) -> None:
    save_noise(project, "photo.jpg", width, height)
    (photo,) = predict_showcase(write_showcase(project, {"file": "photo.jpg"})).images
    assert (photo.title, photo.iou) == ("photo", None)
    with np.load(project / SHOWCASE_PREDICTIONS / "0.npz") as arrays:
        assert set(arrays) == {"image", "prediction"}
        for name, longest in (("image", min(max(width, height), 576)), ("prediction", 32)):
            rows, columns = arrays[name].shape[:2]
            assert max(rows, columns) == longest
            assert rows / columns == pytest.approx(height / width, rel=0.5, abs=1 / longest + 1e-9)


def test_predict_showcase_without_foreground_has_no_iou(project: Path) -> None:
    """IoU is undefined if neither the ground truth nor the prediction has foreground."""
    save_noise(project, "photo.png", 32, 32)
    predict_showcase(write_showcase(project, {"file": "photo.png"}))
    with np.load(project / SHOWCASE_PREDICTIONS / "0.npz") as arrays:
        predicted = set(np.unique(arrays["prediction"]).tolist())
    data = PreparedData(project / PREPARED).dataset
    (absent, *_) = {0, 1, 2} - predicted  # make an absent class the foreground
    classes = tuple(replace(item, foreground=index == absent) for index, item in enumerate(data.classes))
    (project / PREPARED / PreparedData.CLASSES).write_text(to_json(replace(data, classes=classes)))
    Image.new("L", (32, 32), min(predicted)).save(project / SHOWCASE_IMAGES / "mask.png")
    (photo,) = predict_showcase(write_showcase(project, {"file": "photo.png", "mask": "mask.png"})).images
    assert photo.iou is None


def test_predict_showcase_is_deterministic(project: Path) -> None:
    save_noise(project, "photo.png", 60, 40)
    params = write_showcase(project, {"file": "photo.png"})

    def read_files() -> dict[str, bytes]:
        predict_showcase(params)
        return {path.name: path.read_bytes() for path in (project / SHOWCASE_PREDICTIONS).iterdir()}

    assert read_files() == read_files()


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"file": "gone.png"}, r"showcase/gone\.png cannot be read \(No such file"),
        ({"file": "text.png"}, r"showcase/text\.png is not in one of the formats PNG"),
        ({"file": "photo.png", "mask": "small.png"}, r"small\.png has 5 × 4 pixels, but its image has 60 × 40"),
        ({"file": "photo.png", "mask": "odd.png"}, r"odd\.png contains the values 7; expected 0, 1, 2, 255"),
        ({"file": "photo.png", "mask": "blank.png"}, r"blank\.png marks every pixel as ignored"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_predict_showcase_names_invalid_files(project: Path, entry: dict[str, str], message: str) -> None:
    folder = project / SHOWCASE_IMAGES
    save_noise(project, "photo.png", 60, 40)
    (folder / "text.png").write_text("not an image")
    Image.new("L", (5, 4)).save(folder / "small.png")
    Image.new("L", (60, 40), 255).save(folder / "blank.png")
    Image.new("L", (60, 40), 7).save(folder / "odd.png")
    predict_showcase(write_showcase(project, {"file": "photo.png"}))
    before = (project / SHOWCASE_PREDICTIONS / "0.npz").read_bytes()
    with pytest.raises(PipelineError, match=message):
        predict_showcase(write_showcase(project, entry))
    assert (project / SHOWCASE_PREDICTIONS / "0.npz").read_bytes() == before  # no partial results


def test_showcase_mask_that_numbers_objects_has_the_scores_of_the_evaluation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_nuclei(Path("nuclei"))
    background, nucleus, border = SECTION["classes"]
    section = {**SECTION, "classes": [nucleus, border, background]}  # indices differ from mask values
    params = train_on_nuclei(tmp_path, section)
    rows = csv.DictReader(Path(EVALUATION, TRAINED, "per_image.csv").read_text(encoding="utf-8").splitlines())
    row = next(row for row in rows if row["split"] == "validation")
    for kind in ("images", "masks"):
        shutil.copy(f"nuclei/{kind}/{row['id']}.png", SHOWCASE_IMAGES / f"{kind}.png")
    (shown,) = predict_showcase(with_showcase(params, ShowcaseImage(file="images.png", mask="masks.png"))).images
    assert shown.iou == pytest.approx(float(row["foreground_iou"]), abs=1e-6)
    assert shown.iou > 0.1


def test_showcase_mask_for_annotations_may_only_have_indices_of_classes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_nuclei(Path("nuclei"))
    annotate_nuclei(Path("nuclei"))
    params = train_on_nuclei(tmp_path, COCO_SECTION)
    shutil.copy("nuclei/images/000.png", SHOWCASE_IMAGES / "image.png")
    params = with_showcase(params, ShowcaseImage(file="image.png", mask="mask.png"))
    pixels = np.zeros((SIDE, SIDE), np.uint8)
    pixels[:8] = 1
    Image.fromarray(pixels).save(SHOWCASE_IMAGES / "mask.png")
    assert predict_showcase(params).images[0].iou is not None
    Image.fromarray(pixels * 255).save(SHOWCASE_IMAGES / "mask.png")
    with pytest.raises(PipelineError, match=r"mask\.png contains the values 255; expected 0, 1\."):
        predict_showcase(params)


@pytest.mark.parametrize("part", ["class", "object"])
def test_showcase_mask_is_refused_if_masks_of_the_data_have_several_files(project: Path, part: str) -> None:
    values: tuple[str | int | None, ...] = (None, "disc") if part == "class" else (0, 1)
    classes = [{**item, "mask_value": value} for item, value in zip(CLASSES, values, strict=True)]
    section = {**DISCS, "image_size": 32, "images": "images/*", "masks": f"masks/{{{part}}}/*", "classes": classes}
    content = {**load_shipped_params(), "data": section}
    content["report"] = {**content["report"], "showcase": [{"file": "a.png"}, {"file": "b.png", "mask": "c.png"}]}
    with pytest.raises(
        PipelineError, match=rf"report\.showcase\[1\]\.mask: must be null if data\.masks has {{{part}}}"
    ):
        check_params(content, "params.yaml")


@pytest.mark.parametrize("name", ["../secret.png", "sub/photo.png", ""])
def test_showcase_file_outside_its_folder_is_refused(project: Path, name: str) -> None:
    with pytest.raises(PipelineError, match=r"report\.showcase\[0\]\.file"):
        write_showcase(project, {"file": name})


def test_predict_showcase_without_images_does_not_import_torch(project: Path) -> None:
    code = (
        "import sys\nfrom pipeline.params.file import read_params\n"
        "from pipeline.showcase.predict_showcase import predict_showcase\n"
        "print(predict_showcase(read_params())); sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=project, capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (0, "ShowcaseList(run=None, images=())")


def test_report_shows_showcase_predictions_and_refuses_those_of_another_run(project: Path) -> None:
    save_noise(project, "photo.png", 60, 40)
    params = write_showcase(project, {"file": "photo.png", "title": "A <b>photograph</b>"})
    for name in (TEMPLATES, Path(params.report.notes_file)):
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).symlink_to(ROOT / name)
    assert "report.showcase" in write_report(params).faults[0].title
    predict_showcase(params)
    page = write_report(params)
    assert page.faults == ()
    html = page.path.read_text(encoding="utf-8")
    assert "A &lt;b&gt;photograph&lt;/b&gt;, an image from outside the data." in html
    path = project / SHOWCASE_PREDICTIONS / ShowcasePredictions.LIST
    path.write_text(path.read_text().replace(TRAINED, "lite0-0.01-0"))
    (fault,) = write_report(params).faults
    assert re.search(r"showcase_predictions is out of date.* unet-0\.01-0", fault.text)
    path.write_text(path.read_text().replace("lite0-0.01-0", TRAINED))
    other = write_showcase(project, {"file": "photo.png", "title": "Another title"})
    assert "Run `pipeline showcase`" in write_report(other).faults[0].text
