"""Images at their own sizes: prepared unchanged, learned in patches, evaluated and predicted in tiles, served."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import mlflow.pyfunc
import numpy as np
import pandas as pd
import pytest
import tifffile
from click.testing import CliRunner
from PIL import Image

from pipeline.artifacts.prepared_data import SPLITS
from pipeline.artifacts.project import Project
from pipeline.cli import main
from pipeline.compare.compare_runs import compare
from pipeline.errors import PipelineError
from pipeline.evaluate.evaluate_run import evaluate_run
from pipeline.imaging.resize import NativeSize
from pipeline.inference.trained_run import TrainedRun
from pipeline.prepare.prepare_data import prepare
from pipeline.promote.onnx_export import export_onnx, measure_agreement
from pipeline.promote.package import package_model
from pipeline.report.write_report import write_report
from pipeline.runtime.training_state import TrainingState
from pipeline.tracking.sync import sync_runs
from pipeline.train.train_cell import train_cell
from pipeline.variants.table import measure_variants
from tests.conftest import ROOT, TRAINED
from tests.discs import SHAPES, draw_pair, write_discs, write_native_params


@pytest.fixture
def discs(project: Path) -> Path:
    write_discs(project / "discs", 24)
    (project / "reports").symlink_to(ROOT / "reports")
    return project


def test_native_images_are_learned_reported_predicted_and_served(discs: Path, tmp_path: Path) -> None:
    params = write_native_params(discs, {}, {})
    prepare(params)
    prepared = Project(discs).prepared
    for split in SPLITS:
        found = prepared.open_split(split)
        for name, image, mask in zip(found.ids, found.images, found.masks, strict=True):
            expected_image, expected_mask = draw_pair(int(name))
            np.testing.assert_array_equal(image, expected_image)
            np.testing.assert_array_equal(mask, expected_mask // 255)

    train_cell(params.cells()[0])
    evaluation = evaluate_run(params, TRAINED)
    assert evaluation.validation is not None
    assert evaluation.validation.foreground_iou is not None
    assert evaluation.validation.foreground_iou > 0.5
    compare(params)
    list(sync_runs(params, [TRAINED], Project(discs)))
    rendered = write_report(params, project=Project(discs), out=tmp_path / "report.html")
    assert rendered.faults == ()

    image, disc = draw_pair(3)
    Image.fromarray(image).save(discs / "new.png")
    done = CliRunner().invoke(main, ["predict", "--run", TRAINED, "new.png", "--foreground"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert "images of their own size" in done.output
    (path,) = discs.glob("**/masks/new.png")
    mask = np.asarray(Image.open(io.BytesIO(path.read_bytes())))
    assert mask.shape == disc.shape
    assert ((mask == 255) & (disc == 255)).sum() > 0.5 * (disc == 255).sum()

    tifffile.imwrite(discs / "new.tif", image, tile=(32, 48), compression="zlib", photometric="rgb")
    tifffile.imwrite(discs / "long.tif", np.tile(image, (1, 100, 1)), photometric="rgb")
    (discs / "cut.tif").write_bytes((discs / "new.tif").read_bytes()[:-99])
    options = ["--run", TRAINED, "new.tif", "long.tif", "cut.tif", "--overlay", "--foreground"]
    done = CliRunner().invoke(main, ["predict", *options], catch_exceptions=False)
    assert done.exit_code == 1
    assert "cut.tif is not a complete image" in done.output
    folder = path.parent.parent
    assert {file.name for file in folder.glob("masks/*.tif")} == {"new.tif", "long.tif"}
    np.testing.assert_array_equal(tifffile.imread(folder / "masks/new.tif"), mask)
    assert tifffile.imread(folder / "masks/long.tif").shape == (130, 9000)
    for preview in ("overlays/long.jpg", "foreground/long.png"):
        with Image.open(folder / preview) as shrunk:
            assert shrunk.size == (4500, 65)

    trained = TrainedRun.load(params, TRAINED, Project(discs))
    assert trained.preprocessing.resizing == NativeSize(1.0)
    export_onnx(trained, tmp_path / "network.onnx")
    validation = prepared.open_split("validation")
    assert measure_agreement(trained, tmp_path / "network.onnx", validation) > 0.98
    package_model(trained, tmp_path / "network.onnx", validation, tmp_path / "model")
    served = mlflow.pyfunc.load_model(str(tmp_path / "model"))
    content = base64.b64encode((discs / "new.png").read_bytes()).decode()
    answer = served.predict(pd.DataFrame({"image": [content]}))["mask"][0]
    labels = np.asarray(Image.open(io.BytesIO(base64.b64decode(answer))))
    assert ((labels == 1) == (mask == 255)).mean() > 0.98


class StoppedError(Exception):
    """The training is stopped after an epoch."""


def stop_after_two_epochs(state: TrainingState) -> None:
    if len(state.history) == 2:
        raise StoppedError


def test_resumed_training_on_patches_has_the_bytes_of_an_uninterrupted_one(discs: Path) -> None:
    augmentation = {"rotation": 20, "scale": 0.25, "translate": 0.1}
    params = write_native_params(discs, {}, {"epochs": 4, "patches_per_epoch": 12, "augmentation": augmentation})
    prepare(params)
    weights = Project(discs).run(TRAINED).weights
    train_cell(params.cells()[0])
    expected = weights.read_bytes()
    with pytest.raises(StoppedError):
        train_cell(params.cells()[0], publish=stop_after_two_epochs)
    first_epochs: list[int] = []
    train_cell(params.cells()[0], publish=lambda state: first_epochs.append(len(state.history)))
    assert first_epochs[0] == 2
    assert weights.read_bytes() == expected


def test_size_problems_of_patches_name_their_key(discs: Path) -> None:
    pan = {"architecture": "PAN", "encoder": "resnet18", "pretrained": False}
    with pytest.raises(PipelineError, match=r"patch_size: must be at least 128 px for variant 'unet', but is 32"):
        write_native_params(discs, {}, {}, {"family": "smp", **pan})


def test_patches_that_a_network_would_pad_are_learned_and_predicted(discs: Path) -> None:
    params = write_native_params(discs, {}, {"epochs": 1, "patch_size": [27, 45]})
    prepare(params)
    train_cell(params.cells()[0])
    evaluation = evaluate_run(params, TRAINED)
    assert evaluation.validation is not None
    assert np.isfinite(evaluation.validation.loss)


def test_variants_without_patch_size_are_reported_in_their_row(discs: Path) -> None:
    params = write_native_params(discs, {}, {})
    without = params.model_copy(update={"train": params.train.model_copy(update={"patch_size": None})})
    rows = list(measure_variants(without, discs, lambda *_: 1))
    assert len(rows) == len(params.variants)
    assert all("train.patch_size: must be set, because data.image_size is native" in row.problem for row in rows)


def test_downscale_shrinks_native_images_first(discs: Path) -> None:
    params = write_native_params(discs, {"downscale": 2.0}, {"epochs": 1})
    prepare(params)
    sizes = {image.shape[:2] for image in Project(discs).prepared.open_split("train").images}
    assert sizes == {(height // 2, width // 2) for height, width in SHAPES}
    train_cell(params.cells()[0])
    image, _ = draw_pair(3)
    Image.fromarray(image).save(discs / "a.png")
    tifffile.imwrite(discs / "b.tif", image, photometric="rgb", rowsperstrip=5, compression="zlib")
    done = CliRunner().invoke(main, ["predict", "--run", TRAINED, "a.png", "b.tif"], catch_exceptions=False)
    assert done.exit_code == 0
    masks = discs / "predictions/masks"
    whole, windows = np.asarray(Image.open(masks / "a.png")), tifffile.imread(masks / "b.tif")
    assert whole.shape == windows.shape == image.shape[:2]
    assert (whole == windows).mean() > 0.99  # rounding of a resized pixel may change a label
