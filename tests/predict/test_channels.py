"""Images of one to five channels with 8 or 16 bits, from training to predictions of new images."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from click.testing import CliRunner
from PIL import Image

from pipeline.artifacts.evaluation_folder import EvaluationFolder
from pipeline.artifacts.prepared_data import SHOWCASE, PreparedData
from pipeline.artifacts.project import EVALUATION, PREPARED, SHOWCASE_IMAGES, SHOWCASE_PREDICTIONS
from pipeline.cli import main
from pipeline.compare.compare_runs import compare
from pipeline.errors import PipelineError
from pipeline.evaluate.evaluate_run import evaluate_run
from pipeline.params import Params
from pipeline.params.file import read_params
from pipeline.showcase.predict_showcase import predict_showcase
from pipeline.train.train_cell import train_cell
from pipeline.variants.table import measure_variants
from tests.channels import replace_images
from tests.conftest import write_params

RUN = "unet-0.01-0"
GRID = {"variant": ["unet", "lite0"], "learning_rate": [0.01], "seed": [0]}
AUGMENTATION = {  # in addition to the shipped ones
    "brightness_contrast": 0.2,
    "color_jitter": 0.2,
    "blur_prob": 0.5,
    "random_erasing_prob": 0.5,
}
KINDS = [(1, np.uint8), (1, np.uint16), (2, np.uint8), (3, np.uint16), (5, np.uint16), (5, np.uint8)]


def encode_tiff(image: np.ndarray) -> bytes:
    """Encode an image as a TIFF with one page per channel."""
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, image.transpose(2, 0, 1), photometric="minisblack")
    return buffer.getvalue()


@pytest.fixture
def train(project: Path) -> Callable[[int, type], Params]:
    """Return a function that trains and evaluates one epoch on random images; the first channel shows the mask."""

    def run(channels: int, dtype: type) -> Params:
        replace_images(project, channels, dtype)
        changes = {
            "grid": GRID,
            "train": {"epochs": 1, "augmentation": AUGMENTATION},
            "report": {"showcase": [{"file": "new.tif"}]},
        }
        params = read_params(write_params(project, changes))
        train_cell(params.cell("unet", 0.01, 0))
        evaluate_run(params, RUN)
        return params

    return run


@pytest.mark.parametrize(("channels", "dtype"), KINDS)
def test_any_channels_are_trained_evaluated_and_predicted(
    channels: int, dtype: type, train: Callable[[int, type], Params], project: Path
) -> None:
    params = train(channels, dtype)
    evaluation = EvaluationFolder(project / EVALUATION / RUN).metrics
    assert evaluation.validation is not None
    assert np.isfinite(evaluation.validation.loss)
    with Image.open(project / EVALUATION / RUN / EvaluationFolder.OVERVIEW) as overview:
        assert (overview.mode, overview.size) == ("RGB", (96, 64))

    image = np.load(project / PREPARED / SHOWCASE / PreparedData.IMAGES)[0]
    folder = project / SHOWCASE_IMAGES
    folder.mkdir(parents=True)
    (folder / "new.tif").write_bytes(encode_tiff(image))
    done = CliRunner().invoke(main, ["predict", "--run", RUN, "--overlay", "--foreground", str(folder), "--out", "out"])
    assert done.exit_code == 0, done.output
    (kept,) = (project / EVALUATION / RUN / EvaluationFolder.EXAMPLES).glob("showcase-*.png")
    is_equal = np.asarray(Image.open("out/masks/new.tif")) == np.asarray(Image.open(kept))
    assert is_equal.mean() > 0.999  # rounding in a batch of another size may change a pixel
    with Image.open("out/overlays/new.jpg") as overlay, Image.open("out/foreground/new.png") as foreground:
        assert (overlay.mode, foreground.mode) == ("RGB", "RGBA")
        assert overlay.size == foreground.size == (32, 32)

    compare(params)
    assert [image.file for image in predict_showcase(params).images] == ["new.tif"]
    with np.load(project / SHOWCASE_PREDICTIONS / "0.npz") as arrays:
        assert (arrays["prediction"] == np.asarray(Image.open(kept))).mean() > 0.999


def test_predict_of_images_with_other_channels_reports_and_skips_them(
    train: Callable[[int, type], Params], project: Path
) -> None:
    train(5, np.uint16)
    (project / "new").mkdir()
    Image.new("RGB", (40, 30)).save(project / "new/photo.jpg")
    (project / "new/four.tif").write_bytes(encode_tiff(np.zeros((30, 40, 4), np.uint16)))
    (project / "new/bytes.tif").write_bytes(encode_tiff(np.full((30, 40, 5), 200, np.uint8)))  # scaled to 16 bits
    done = CliRunner().invoke(main, ["predict", "--run", RUN, "new", "--out", "out"])
    assert done.exit_code == 1
    output = re.sub(r"\s+", " ", done.output)
    assert "photo.jpg has 3 channels, but 5 are expected; only TIFFs can have so many; skipped" in output
    assert "four.tif has 4 channels, but 5 are expected; skipped" in output
    assert [path.name for path in Path("out/masks").iterdir()] == ["bytes.tif"]


def test_predict_with_a_grayscale_network_accepts_color_images(
    train: Callable[[int, type], Params], project: Path
) -> None:
    params = train(1, np.uint8)
    compare(params)
    (project / SHOWCASE_IMAGES).mkdir(parents=True)
    red = Image.new("RGB", (32, 32), (200, 30, 30))
    red.save(project / SHOWCASE_IMAGES / "new.tif")
    done = CliRunner().invoke(main, ["predict", str(project / SHOWCASE_IMAGES), "--foreground", "--out", "out"])
    assert done.exit_code == 0, done.output
    with Image.open("out/foreground/new.png") as foreground:
        assert foreground.getpixel((16, 16))[:3] == (200, 30, 30)  # type: ignore[index]
    predict_showcase(params)
    with np.load(project / SHOWCASE_PREDICTIONS / "0.npz") as arrays:
        assert (arrays["image"] == np.asarray(red)).all()


def test_pretrained_encoder_with_five_channels_is_refused(train: Callable[[int, type], Params]) -> None:
    params = train(5, np.uint16)
    with pytest.raises(PipelineError, match="three channels, but the data has 5; set pretrained: false"):
        train_cell(params.cell("lite0", 0.01, 0))


def test_variants_are_measured_with_the_channels_of_the_data(
    train: Callable[[int, type], Params], project: Path
) -> None:
    params = train(5, np.uint16)
    rows = {row.name: row for row in measure_variants(params, project, lambda cell, data: data.channels)}
    assert rows["unet"].process == 5
    assert "expect images with three channels, but the data has 5" in rows["lite0"].problem
