"""Objects in predicted class masks: strips give the same objects as whole images, and measures equal scikit-image's."""

from __future__ import annotations

import csv
import json
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import tifffile
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy import ndimage
from skimage.measure import regionprops_table

from pipeline.artifacts.prepared_data import SegmentationClass
from pipeline.cli import main
from pipeline.imaging.objects import label_objects
from pipeline.imaging.pixel_size import PixelSize
from pipeline.inference.objects import ObjectSettings
from pipeline.predict import objects
from pipeline.predict.objects import ObjectFinder, ObjectTable, write_object_table
from pipeline.prepare.prepare_data import prepare
from pipeline.train.train_cell import train_cell
from tests.nuclei import SECTION, draw_nuclei, write_nuclei, write_nuclei_params

CLASSES = (
    SegmentationClass("ground", "#000000", foreground=False),
    SegmentationClass("cell", "#ff0000", foreground=True),
    SegmentationClass("tissue", "#00ff00", foreground=True),
    SegmentationClass("border", "#0000ff", foreground=False, is_boundary=True),
)
SETTINGS = ObjectSettings(("cell", "tissue"), (1, 2), (3,), 0, is_numbered=False)


def draw_mask(random: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Draw regions of all classes with smooth outlines, and sometimes a very wide border."""
    noise = ndimage.gaussian_filter(random.normal(size=shape), random.uniform(0.5, 4), mode="wrap")
    edges = np.quantile(noise, np.sort(random.uniform(0, 1, 3)))
    return random.permutation(4).astype(np.uint8)[np.digitize(noise, edges)]


def find_objects(
    mask: np.ndarray, image: np.ndarray, path: Path, cuts: list[int], min_area: float = 0
) -> tuple[np.ndarray, ObjectTable]:
    with ObjectFinder(mask.shape, SETTINGS, min_area) as finder:
        for strip in np.split(mask, cuts):
            if len(strip):
                finder.add(strip)
        table = finder.finish(image, path, Path(__file__), "image.png", CLASSES)
    return tifffile.imread(path), table


@settings(max_examples=40)
@given(st.integers(0, 10**6), st.sampled_from([0, 20]))
def test_strips_give_the_objects_of_the_whole_mask(
    tmp_path_factory: pytest.TempPathFactory, seed: int, min_area: int
) -> None:
    random = np.random.default_rng(seed)
    shape = (int(random.integers(2, 400)), int(random.integers(1, 40)))
    mask, image = draw_mask(random, shape), random.integers(0, 60_000, (*shape, 2)).astype(np.uint16)
    cuts = sorted(random.integers(0, shape[0], 3).tolist())
    path = tmp_path_factory.getbasetemp() / "labels.tif"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(objects, "STRIP_PIXELS", 1)  # the lowest possible number of rows, MAX_REACH
        labels, table = find_objects(mask, image, path, cuts, min_area)
    expected = label_objects(mask, SETTINGS.foreground, SETTINGS.boundary, min_area)
    assert labels.dtype == np.uint16
    np.testing.assert_array_equal(labels, expected.labels)
    assert table.classes == tuple(CLASSES[index].name for index in expected.classes[1:])
    if len(table):
        props = regionprops_table(expected.labels, image, properties=("label", "area", "centroid", "intensity_mean"))
        np.testing.assert_array_equal(table.areas, props["area"])
        np.testing.assert_allclose(table.centroids, np.stack([props["centroid-1"], props["centroid-0"]], axis=1))
        np.testing.assert_allclose(table.means, np.stack([props[f"intensity_mean-{i}"] for i in range(2)], axis=1))
        inner = np.pad(np.zeros((max(shape[0] - 2, 0), max(shape[1] - 2, 0)), bool), 1, constant_values=True)
        at_edge = {*np.unique(expected.labels[inner[: shape[0], : shape[1]]])} - {0}
        assert set((np.flatnonzero(table.touches_edge) + 1).tolist()) == at_edge


def test_gray_images_are_measured_in_one_channel(tmp_path: Path) -> None:
    mask, gray = np.ones((3, 4), np.uint8), np.arange(12, dtype=np.uint8).reshape(3, 4, 1)
    with ObjectFinder(mask.shape, SETTINGS, 0, is_gray=True) as finder:
        finder.add(mask)
        table = finder.finish(gray.repeat(3, axis=2), tmp_path / "labels.tif", Path(__file__), "x", CLASSES)
    assert table.means.tolist() == [[5.5]]


def test_more_than_65535_objects_are_stored_with_32_bits(tmp_path: Path) -> None:
    mask = np.zeros((520, 520), np.uint8)
    mask[::2, ::2] = 1
    labels, table = find_objects(mask, np.zeros((520, 520, 1), np.uint8), tmp_path / "labels.tif", [100])
    assert (labels.dtype, labels.max(), len(table)) == (np.uint32, 260**2, 260**2)


def test_memory_does_not_depend_on_the_height_of_the_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objects, "STRIP_PIXELS", 20_000)
    band = np.zeros((200, 100), np.uint8)
    band[10:150, 10:40], band[10:150, 40:42] = 1, 3

    class Bands:
        """An image whose pixels are made on request."""

        def __init__(self, count: int) -> None:
            self.shape = (200 * count, 100, 1)

        def __getitem__(self, window: tuple[slice, slice]) -> np.ndarray:
            return np.zeros((window[0].stop - window[0].start, 100, 1), np.uint8)

    def measure_peak(count: int) -> int:
        tracemalloc.start()
        with ObjectFinder((200 * count, 100), SETTINGS, 0) as finder:
            for _ in range(count):
                finder.add(band)
            table = finder.finish(Bands(count), tmp_path / "labels.tif", Path(__file__), "x", CLASSES)  # type: ignore[arg-type]
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert table.areas.tolist() == [140 * 32] * count
        return peak

    measure_peak(2)  # imports
    small, large = measure_peak(5), measure_peak(100)
    assert large - small < 200 * 100 * 95 / 4  # the additional pixels would take 5 bytes each


def test_object_table_has_empty_cells_for_missing_channels(tmp_path: Path) -> None:
    def table(file: str, channels: int) -> ObjectTable:
        return ObjectTable(
            file, ("cell",), np.array([4]), np.array([[1.5, 2.0]]), np.full((1, channels), 7.25), np.array([True])
        )

    write_object_table(tmp_path / "objects.csv", [table("=a.png", 1), table("b.png", 2)])
    assert (tmp_path / "objects.csv").read_text().splitlines() == [
        "file,label,class,area,centroid_x,centroid_y,mean_1,mean_2,touches_edge",
        "./=a.png,1,cell,4,1.50,2.00,7.25,,true",
        "b.png,1,cell,4,1.50,2.00,7.25,7.25,true",
    ]


def test_object_table_has_areas_in_square_units(tmp_path: Path) -> None:
    areas = np.array([4, 1_234_567, 30])
    centers, is_at_edge = np.zeros((3, 2)), np.zeros(3, bool)
    table = ObjectTable("a.tif", ("cell",) * 3, areas, centers, np.zeros((3, 1)), is_at_edge)

    def read(pixel: PixelSize) -> list[str]:
        write_object_table(tmp_path / "objects.csv", [table], pixel)
        with (tmp_path / "objects.csv").open(encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        assert [int(row["area"]) for row in rows] == areas.tolist()
        assert list(rows[0])[3:5] == ["area", f"area_{pixel.unit}2"]
        return [row[f"area_{pixel.unit}2"] for row in rows]

    assert read(PixelSize(0.5, 0.65, "µm")) == ["1.3", "401234", "9.75"]
    assert read(PixelSize(30.0, 30.0, "m")) == ["3600", "1111110000", "27000"]
    assert read(PixelSize(1e-4, 1e-4, "mm")) == ["0.00000004", "0.0123457", "0.0000003"]


@pytest.mark.parametrize("resize", ["stretch", "letterbox"])
def test_predict_objects_measures_the_pixels_of_the_original_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, resize: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write_nuclei(Path("nuclei"))
    section = {**SECTION, "image_size": 32, "resize": resize, "pixel_size": [0.5, 2.0], "pixel_unit": "µm"}
    params = write_nuclei_params(tmp_path, data=section)
    prepare(params)
    train_cell(params.cell("unet", 0.01, 0))
    gray = draw_nuclei(np.random.default_rng(99), (90, 140))[0]
    Path("new").mkdir()
    imagej = {"imagej": True, "resolution": (1.0, 1.0), "metadata": {"unit": "micron"}}  # another pixel size
    tifffile.imwrite("new/a.tif", gray, photometric="minisblack", **imagej)
    arguments = ["predict", "new", "--run", "unet-0.01-0", "--out", "found", "--objects"]
    result = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert "1 image states another pixel size than data.pixel_size" in result.stderr
    labels, mask = tifffile.imread("found/objects/a.tif"), tifffile.imread("found/masks/a.tif")
    assert labels.shape == mask.shape == gray.shape
    np.testing.assert_array_equal(labels, label_objects(mask, [1], [2]).labels)
    with Path("found/objects.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    props = regionprops_table(labels, gray, properties=("area", "centroid", "intensity_mean"))
    assert [int(row["area"]) for row in rows] == props["area"].tolist()
    np.testing.assert_allclose([float(row["area_µm2"]) for row in rows], props["area"], rtol=1e-5)
    np.testing.assert_allclose([float(row["centroid_x"]) for row in rows], props["centroid-1"], atol=0.006)
    np.testing.assert_allclose([float(row["mean_1"]) for row in rows], props["intensity_mean"], atol=0.006)


def test_predict_objects_writes_label_images_and_a_table(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(trained)
    random = np.random.default_rng(0)
    Path("new").mkdir(exist_ok=True)
    for name in ("a", "b"):
        Image.fromarray(random.integers(0, 256, (70, 50, 3)).astype(np.uint8)).save(f"new/{name}.png")
    arguments = ["predict", "new", "--run", "unet-0.01-0", "--out", "found", "--objects"]
    result = CliRunner().invoke(main, [*arguments, "--json"], catch_exceptions=False)
    images = json.loads(result.stdout)["images"]
    with Path("found/objects.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [image["objects"] for image in images] == [
        sum(row["file"] == image["file"] for row in rows) for image in images
    ]
    names = json.loads(Path("data/prepared/classes.json").read_text())["classes"]
    foreground = [index for index, item in enumerate(names) if item["foreground"]]
    boundary = [index for index, item in enumerate(names) if item["is_boundary"]]
    for image in images:
        name = Path(image["file"]).stem
        labels, mask = tifffile.imread(f"found/objects/{name}.tif"), np.array(Image.open(f"found/masks/{name}.png"))
        np.testing.assert_array_equal(labels, label_objects(mask, foreground, boundary).labels)
        areas = [int(row["area"]) for row in rows if row["file"] == image["file"]]
        assert areas == np.bincount(labels.ravel())[1:].tolist()
    said = CliRunner().invoke(main, arguments, catch_exceptions=False).stdout
    assert f"found: {len(rows)} object" in said


def test_predict_objects_without_foreground_is_one_sentence(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(trained)
    path = Path("data/prepared/classes.json")
    text = path.read_text()
    try:
        path.write_text(text.replace('"foreground": true', '"foreground": false'))
        Image.new("RGB", (40, 40)).save("one.png")
        result = CliRunner().invoke(main, ["predict", "one.png", "--run", "unet-0.01-0", "--objects"])
    finally:
        path.write_text(text)
    assert result.exit_code == 1
    assert "--objects: no class is foreground, so there are no objects" in result.output + str(result.exception)
