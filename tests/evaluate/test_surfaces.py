"""Scores of outlines in units of length: the size of a prepared pixel, and distances in its unit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.artifacts.evaluation_folder import EvaluationFolder
from pipeline.artifacts.image_stack import ImageStack
from pipeline.artifacts.prepared_data import PreparedData, Split
from pipeline.artifacts.project import PREPARED
from pipeline.artifacts.scores import DistanceScale
from pipeline.evaluate.evaluate_run import evaluate_run
from pipeline.evaluate.surfaces import find_prepared_pixels, measure_surfaces
from pipeline.imaging.pixel_size import PixelSize
from pipeline.params.data.image_data import FolderData
from pipeline.prepare.prepare_data import prepare
from pipeline.train.train_cell import train_cell
from tests.conftest import TRAINED
from tests.nuclei import SECTION, write_nuclei, write_nuclei_params


def make_samples(*sizes: tuple[int, int, int, int]) -> pd.DataFrame:
    return pd.DataFrame(sizes, columns=["height", "width", "prepared_height", "prepared_width"])


def find_pixels(samples: pd.DataFrame, **changes: object) -> list[PixelSize]:
    return find_prepared_pixels(FolderData.model_validate({**SECTION, **changes}), samples)


def test_pixels_of_prepared_images_have_the_size_of_the_resized_ones() -> None:
    samples = make_samples((60, 90, 48, 48), (48, 48, 48, 48))
    size = {"image_size": 48, "pixel_size": 0.5, "pixel_unit": "µm"}
    stretched = [PixelSize(0.625, 0.9375, "µm"), PixelSize(0.5, 0.5, "µm")]
    assert find_pixels(samples, **size, resize="stretch") == stretched
    padded = [PixelSize(0.9375, 0.9375, "µm"), PixelSize(0.5, 0.5, "µm")]  # 32 x 48 px without padding
    assert find_pixels(samples, **size, resize="letterbox") == padded
    native = {"image_size": "native", "downscale": 2, "pixel_size": [1, 3], "pixel_unit": "mm"}
    assert find_pixels(make_samples((61, 90, 30, 45)), **native) == [PixelSize(61 / 30, 6, "mm")]
    assert find_pixels(samples, image_size=48) == [PixelSize(1, 1, "px")] * 2


def test_distances_are_measured_with_the_pixels_of_each_image() -> None:
    truth = np.zeros((3, 20, 20), np.uint8)
    truth[:, 5:10] = 1  # a bar over the whole width
    predicted = np.roll(truth, 1, axis=1)  # one row lower
    split = Split.of(np.zeros((*truth.shape, 1), np.uint8), truth)
    pixels = [PixelSize(2.0, 0.5, "µm"), PixelSize(0.5, 2.0, "µm"), PixelSize(1.0, 1.0, "µm")]
    rows = measure_surfaces(split, ImageStack.of(predicted), 0.6, pixels)
    scores = {index: values for index, label, values in rows if label == 1}
    assert [scores[index][2] for index in range(3)] == [2, 0.5, 1]  # hd95
    assert [scores[index][1] == 1 for index in range(3)] == [False, True, False]  # nsd


@pytest.fixture
def nuclei(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with a run that is trained on stretched nuclei, as the current folder."""
    monkeypatch.chdir(tmp_path)
    write_nuclei(Path("nuclei"), shape=(64, 96))
    params = write_nuclei_params(tmp_path, data={**SECTION, "resize": "stretch"})
    prepare(params)
    train_cell(params.cell("unet", 0.01, 0))
    return tmp_path


def evaluate(folder: Path, tolerance: float, **pixel: object) -> tuple[DistanceScale, pd.DataFrame]:
    data = {**SECTION, "resize": "stretch", **pixel}
    evaluation = evaluate_run(write_nuclei_params(folder, data=data, surface_tolerance=tolerance), TRAINED)
    assert evaluation.distances is not None
    written = EvaluationFolder(Path("evaluation") / TRAINED)
    assert written.metrics == evaluation
    return evaluation.distances, written.read_surfaces()


def test_evaluate_run_measures_distances_in_the_unit_of_the_pixel_size(nuclei: Path) -> None:
    fingerprint = PreparedData(PREPARED).dataset.fingerprint
    scale, in_px = evaluate(nuclei, 2.0)
    assert scale == DistanceScale("px", 2.0, 1.0, 1.0)
    assert scale.digits == 1
    # Pixels of the prepared images are square again, because they are stretched by the inverse factor.
    scale, scaled = evaluate(nuclei, 20.0, pixel_size=[10.0, 20 / 3], pixel_unit="nm")
    assert scale == DistanceScale("nm", 20.0, pytest.approx(10), pytest.approx(10))
    assert scaled[["nsd", "boundary_iou"]].to_numpy() == pytest.approx(
        in_px[["nsd", "boundary_iou"]].to_numpy(), nan_ok=True
    )
    assert scaled[["hd95", "asd"]].to_numpy() == pytest.approx(10 * in_px[["hd95", "asd"]].to_numpy(), nan_ok=True)
    scale, uneven = evaluate(nuclei, 2.0, pixel_size=1.0, pixel_unit="nm")
    assert scale == DistanceScale("nm", 2.0, 1.0, 1.5)
    ratio = (uneven["asd"] / in_px["asd"]).dropna()
    assert ratio.between(1, 1.5).all()
    assert ((ratio > 1) & (ratio < 1.5)).any()
    prepare(write_nuclei_params(nuclei, data={**SECTION, "resize": "stretch", "pixel_size": 1.0, "pixel_unit": "nm"}))
    assert PreparedData(PREPARED).dataset.fingerprint == fingerprint


@pytest.mark.parametrize(("smallest", "digits"), [(1.0, 1), (0.65, 2), (0.0012, 4), (5.2, 1), (30.0, 0), (250.0, 0)])
def test_digits_show_a_tenth_of_a_pixel(smallest: float, digits: int) -> None:
    assert DistanceScale("mm", 2.0, smallest, smallest).digits == digits
