"""`pipeline predict` with scenes: one mask per scene, with its georeference and nodata pixels."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from pipeline.artifacts.project import Project
from pipeline.imaging.resize import NativeSize
from pipeline.inference.preprocessing import NetworkInput
from pipeline.inference.trained_run import TrainedRun
from pipeline.params.file import read_params
from pipeline.scenes.scene_image import SceneImage
from tests.aerial import DATA, SIDE, draw_scene, locate_scene, write_geotiff, write_scenes
from tests.conftest import TRAINED
from tests.optional import import_or_skip
from tests.predict.trained_project import Predict, create_predict, train_project

rasterio = import_or_skip("rasterio")

# Windowed, so that the run also segments scenes of floating-point reflectance.
SECTION = {**DATA, "scenes": {**DATA["scenes"], "tile": 32, "block": 1, "window": [0, 65_535]}}


@pytest.fixture(scope="module")
def trained_on_scenes(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a run that was trained on tiles of scenes."""
    root = tmp_path_factory.mktemp("scenes")
    write_scenes(root / "scenes", 3)
    train_project(root, store, SECTION, epochs=8, patch_size=32, patches_per_epoch=96)
    return root


@pytest.fixture
def predict(trained_on_scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Predict:
    return create_predict(trained_on_scenes, tmp_path, monkeypatch)


@pytest.mark.parametrize("file_format", ["png", "tiff"])
def test_mask_has_the_georeference_size_and_nodata_pixels_of_its_scene(
    predict: Predict, tmp_path: Path, file_format: str
) -> None:
    bands, truth = draw_scene(7)
    bands[:, :20, :30] = 0
    write_geotiff(tmp_path / "scene.tif", bands, 7, nodata=0)
    predict("--format", file_format, tmp_path / "scene.tif")
    folder = {"png": "masks", "tiff": "labels"}[file_format]
    with rasterio.open(tmp_path / f"out/{folder}/scene.tif") as mask, rasterio.open(tmp_path / "scene.tif") as scene:
        assert (mask.crs, mask.transform, mask.shape) == (scene.crs, scene.transform, scene.shape)
        assert mask.nodata == 255
        values = mask.read(1)
        valid = mask.read_masks(1) > 0
    assert not valid[:20, :30].any()
    assert valid[20:].all() and valid[:, 30:].all()
    found, expected = (values == 1) & valid, (truth == 1) & valid
    assert (found & expected).sum() / (found | expected).sum() > 0.5


def test_shares_are_those_of_the_pixels_with_data(predict: Predict, tmp_path: Path) -> None:
    bands, _ = draw_scene(7)
    bands[:, 40:] = 0
    write_geotiff(tmp_path / "scene.tif", bands, 7, nodata=0)
    predict("--overlay", "--foreground", "--objects", tmp_path / "scene.tif")
    with rasterio.open(tmp_path / "out/masks/scene.tif") as mask:
        values = mask.read(1)[:40]
    with (tmp_path / "out/shares.csv").open(newline="") as file:
        [row] = csv.DictReader(file)
    assert float(row["share_building"]) == pytest.approx((values == 1).mean(), abs=1e-6)
    assert (int(row["height"]), int(row["width"])) == (SIDE, SIDE)


def test_scene_without_nodata_declares_none(predict: Predict, tmp_path: Path) -> None:
    write_geotiff(tmp_path / "scene.tif", draw_scene(7)[0], 7)
    predict(tmp_path / "scene.tif")
    with rasterio.open(tmp_path / "out/masks/scene.tif") as mask:
        assert (mask.nodata, mask.transform) == (None, locate_scene(7))


def test_scenes_are_segmented_by_the_names_of_their_bands_whatever_their_order_and_type(
    predict: Predict, tmp_path: Path
) -> None:
    bands, _ = draw_scene(7)
    write_geotiff(tmp_path / "in/a.tif", bands, 7)
    names = ("B08", "B11", "B04")
    values = np.stack([bands[3], bands[0], bands[2]]).astype(np.float32)
    write_geotiff(tmp_path / "in/b.tif", values, 7, names=names, compress="lzw", interleave="band")
    write_geotiff(tmp_path / "in/c.tif", bands[:2], 7)
    write_geotiff(tmp_path / "in/d.tif", np.full_like(bands, 9), 7, nodata=9)
    done = predict(tmp_path / "in", code=1)
    with rasterio.open(tmp_path / "out/masks/a.tif") as one, rasterio.open(tmp_path / "out/masks/b.tif") as other:
        expected, found = one.read(1), other.read(1)
    assert expected.any()
    np.testing.assert_array_equal(found, expected)
    assert "c.tif has no band 'B08'; its bands are 1, 2" in done.output
    assert "d.tif has only nodata pixels" in done.output
    assert sorted(path.name for path in (tmp_path / "out/masks").iterdir()) == ["a.tif", "b.tif"]


def test_broken_scene_is_skipped_without_results(predict: Predict, tmp_path: Path) -> None:
    path = write_geotiff(tmp_path / "scene.tif", draw_scene(7)[0], 7)
    path.write_bytes(path.read_bytes()[:-3000])
    done = predict(path, code=1)
    assert "is not a complete" in done.output
    assert not (tmp_path / "out/masks").exists()


@pytest.mark.parametrize("downscale", [1.0, 2.0])
def test_uncertainty_is_that_of_the_pixels_with_data(
    downscale: float, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The uncertainty of the rows with data is the mean over them, whatever the rows without data contain."""
    write_scenes(tmp_path / "scenes", 2)
    section = {**SECTION, "downscale": downscale}
    train_project(tmp_path, store, section, epochs=8, patch_size=16, patches_per_epoch=96)
    predict = create_predict(tmp_path, tmp_path, monkeypatch)
    bands, _ = draw_scene(7, 128)
    bands[:, 32:] = 0
    path = write_geotiff(tmp_path / "mostly-empty.tif", bands, 7, nodata=0)
    predict("--rank-by-uncertainty", path)
    with (tmp_path / "out/uncertainty.csv").open(encoding="utf-8") as file:
        (found,) = [float(row["entropy"]) for row in csv.DictReader(file)]
    run = TrainedRun.load(read_params(), TRAINED, Project())
    assert run.tiles is not None and run.scenes is not None
    scene = NetworkInput(SceneImage(path, run.scenes), run.preprocessing, NativeSize(downscale))
    probs = np.concatenate(list(run.predict_strips(scene, run.tiles)), axis=1)
    entropy = -(probs * np.log(probs)).sum(axis=0)
    assert found == pytest.approx(entropy[: int(32 / downscale)].mean(), abs=2e-6)
    assert abs(found - entropy.mean()) > 1e-3
