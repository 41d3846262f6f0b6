"""`pipeline predict --format`: results that other programs read, and that `pipeline prepare` reads back."""

from __future__ import annotations

import json
import os
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pycocotools.coco import COCO
from ruamel.yaml import YAML
from scipy import ndimage
from skimage.measure import label

from pipeline.artifacts.prepared_data import SHOWCASE, PreparedData, SegmentationClass
from pipeline.artifacts.project import PREPARED
from pipeline.cli import main
from pipeline.imaging.mask_to_classes import MaskEncoding
from pipeline.imaging.pixel_size import PixelSize
from pipeline.params import Params
from pipeline.params.file import read_params
from pipeline.predict.find_images import SourceImage
from pipeline.predict.formats.coco import CocoWriter, encode_regions
from pipeline.predict.formats.labelme import LabelMeWriter
from pipeline.predict.formats.mask_files import LabelWriter
from pipeline.predict.formats.mask_format import MaskWriter, PredictedMask, WriterSettings
from pipeline.predict.formats.polygons import outline_region
from pipeline.predict.formats.regions import find_background
from pipeline.predict.formats.table import FORMATS
from pipeline.predict.row_file import RowFile
from pipeline.prepare.formats.outlines import decode_segmentation
from pipeline.prepare.prepare_data import prepare
from pipeline.train.train_cell import train_cell
from tests.conftest import write_params
from tests.discs import train_on_discs
from tests.nuclei import COCO_SECTION, SECTION, write_nuclei_params

CLASSES = (
    SegmentationClass("ground", "#000000", foreground=False),
    SegmentationClass("Zell-Kern é", "#ff0000", foreground=True),
    SegmentationClass("tissue_2", "#00ff00", foreground=True),
)
ENCODING = MaskEncoding.from_values([(0,), (1,), (2,)], ())
RUN = "unet-0.01-0"
# pycocotools' own `annToMask` does not support numpy 2 fully.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def draw_mask(random: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Draw regions of all classes, with holes, diagonal contacts and single pixels."""
    noise = ndimage.gaussian_filter(random.normal(size=shape), random.uniform(0.3, 4))
    return np.digitize(noise, np.quantile(noise, np.sort(random.uniform(0.1, 0.9, 2)))).astype(np.uint8)


def measure_far_differences(found: np.ndarray, expected: np.ndarray) -> int:
    """Count the pixels that differ and do not touch another class, also at a corner."""
    low = ndimage.minimum_filter(expected, 3, mode="nearest")
    high = ndimage.maximum_filter(expected, 3, mode="nearest")
    is_at_edge = np.pad(np.zeros(np.array(expected.shape) - 2, bool), 1, constant_values=True)
    return int(((found != expected) & (low == high) & ~is_at_edge).sum())


def write_mask(writer: MaskWriter, mask: np.ndarray, image: SourceImage, confidence: float = 0.75) -> None:
    with RowFile(mask.shape[1], np.uint8) as rows:
        rows.write(0, mask)
        certain = np.full(mask.shape, confidence, np.float16)
        writer.write(PredictedMask(image, *mask.shape, rows, certain))


def create_settings(folder: Path, **changes: Any) -> WriterSettings:
    standard = {"model": "a run", "classes": CLASSES, "encoding": ENCODING, "background": 0, "pixel": None}
    return WriterSettings(folder, **{**standard, **changes})


@settings(max_examples=40)
@given(st.integers(0, 10**6))
def test_run_lengths_of_regions_are_exact(seed: int) -> None:
    random = np.random.default_rng(seed)
    numbers = label(draw_mask(random, (random.integers(1, 40), random.integers(1, 40))), connectivity=2)
    encoded = encode_regions(numbers.astype(np.int32), numbers.max())
    assert len(encoded) == numbers.max()
    for number, one in enumerate(encoded, start=1):
        np.testing.assert_array_equal(decode_segmentation(one, *numbers.shape), numbers == number)


@settings(max_examples=40)
@given(st.integers(0, 10**6))
def test_polygons_change_only_pixels_along_the_outline(seed: int) -> None:
    random = np.random.default_rng(seed)
    numbers = label(draw_mask(random, (random.integers(1, 50), random.integers(1, 50))), connectivity=2)
    for number in range(1, numbers.max() + 1):
        region = np.pad(numbers == number, 1)
        points = outline_region(region)
        assert len(points) >= 3
        drawn = decode_segmentation([points.ravel().tolist()], *region.shape)
        assert measure_far_differences(drawn.astype(np.uint8), region.astype(np.uint8)) == 0


def test_polygon_of_a_ring_leaves_its_hole_open() -> None:
    y, x = np.mgrid[:60, :60]
    distance = np.hypot(y - 30, x - 30)
    ring = (distance < 25) & (distance > 12)
    drawn = decode_segmentation([outline_region(ring).ravel().tolist()], 60, 60)
    assert not drawn[distance < 10].any()
    assert (drawn ^ ring).sum() < 0.03 * ring.sum()


@pytest.fixture
def discs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Params:
    """A run on images of discs at their own size, in the current folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    return train_on_discs({"pixel_size": [0.5, 0.25], "pixel_unit": "µm"}, epochs=3)


def predict(*arguments: object, code: int = 0) -> Result:
    done = CliRunner().invoke(main, ["predict", "--run", RUN, *map(str, arguments)])
    assert done.exit_code == code, done.output
    return done


def prepare_export(folder: Path, source: str, annotations: str, **keys: Any) -> dict[str, np.ndarray]:
    """Prepare predictions as annotations, and return the masks by image."""
    path = Path("params.yaml")
    content = YAML(typ="safe").load(path.read_text(encoding="utf-8"))
    classes = [
        {"name": "ground", "color": "#0072b2", "foreground": False, "category": None},
        {"name": "disc", "color": "#e69f00", "foreground": True, "category": "disc"},
    ]
    data = {name: value for name, value in content["data"].items() if name != "ignore_value"}
    content["data"] = {**data, "source": source, "path": str(folder), "classes": classes, "annotations": annotations}
    content["data"] |= keys
    with path.open("w", encoding="utf-8") as file:
        YAML(typ="safe").dump(content, file)
    prepare(read_params(path), Path("again"))
    prepared = PreparedData(Path("again"))
    splits = [prepared.open_split(split) for split in (*prepared.splits, SHOWCASE)]
    return {name: mask for split in splits for name, mask in zip(split.ids, split.masks, strict=True)}


def test_every_format_has_the_predicted_mask(discs: Params) -> None:
    done = predict("discs/images", "--format", "png,tiff", "--format", "coco,labelme", "--out", "discs/predictions")
    assert "20 masks by unet-0.01-0 in masks/, labels/, coco.json and labelme/" in done.output
    assert "Pixels of the class ground have no annotation." in done.output
    out = Path("discs/predictions")
    masks = {path.stem: np.asarray(Image.open(path)) // 255 for path in (out / "masks").iterdir()}
    assert any(mask.any() for mask in masks.values())

    for name, mask in masks.items():
        with tifffile.TiffFile(out / "labels" / f"{name}.tif") as file:
            np.testing.assert_array_equal(file.asarray(), mask)
            tags = file.pages[0].tags
            assert file.pages[0].compression.name == "ADOBE_DEFLATE"
            x, y = (tags[tag].value[0] / tags[tag].value[1] for tag in ("XResolution", "YResolution"))
            assert (x, y) == (pytest.approx(1e4 / 0.25), pytest.approx(1e4 / 0.5))  # pixels per centimeter

    coco = COCO(out / "coco.json")
    assert coco.cats == {2: {"id": 2, "name": "disc", "supercategory": ""}}
    for image in coco.loadImgs(coco.getImgIds()):
        annotations = coco.imgToAnns[image["id"]]
        expected = masks[Path(image["file_name"]).stem]
        drawn = sum((coco.annToMask(one) for one in annotations), start=np.zeros_like(expected))
        np.testing.assert_array_equal(drawn, expected)
        assert len(annotations) == label(expected, connectivity=2).max()
        assert sum(one["area"] for one in annotations) == expected.sum()
        assert all(0.5 < one["score"] <= 1 for one in annotations)

    (out / "coco.json").rename("discs/coco.json")
    exact = prepare_export(Path("discs"), "coco", "coco.json", images="images/**/*")
    assert exact.keys() == masks.keys()
    for name, mask in masks.items():
        np.testing.assert_array_equal(exact[name], mask)

    again = prepare_export(Path("discs"), "labelme", "predictions/labelme/**/*.json", images="images/**/*")
    assert again.keys() == masks.keys()
    assert sum(measure_far_differences(again[name], mask) for name, mask in masks.items()) == 0
    different = sum(int((again[name] != mask).sum()) for name, mask in masks.items())
    assert different < 0.05 * sum(mask.sum() for mask in masks.values())


def test_labelme_files_find_their_images(discs: Params) -> None:
    Path("elsewhere").symlink_to("discs", target_is_directory=True)
    predict("discs/images", "--format", "labelme", "--out", "elsewhere/a/b")
    assert not Path("elsewhere/a/b/masks").exists()
    path = Path("elsewhere/a/b/labelme/03.json")
    content = json.loads(path.read_text(encoding="utf-8"))
    assert content["imagePath"] == "../../../images/03.png"
    with Image.open(path.parent / content["imagePath"]) as image:
        assert (content["imageWidth"], content["imageHeight"]) == image.size
    assert {shape["shape_type"] for shape in content["shapes"]} <= {"polygon"}


def test_predictions_of_a_large_tiff_are_refused_by_formats_without_strips(
    discs: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = np.zeros((300, 400, 3), np.uint8)
    tifffile.imwrite("large.tif", pixels, photometric="rgb", tile=(64, 64))
    monkeypatch.setattr(CocoWriter, "max_pixels", 100_000)
    done = predict("large.tif", "--format", "coco", code=1)
    assert "large.tif has 0.1 megapixels, but --format coco" in done.output.replace("\n", " ")
    assert json.loads(Path("predictions/coco.json").read_text())["images"] == []
    predict("large.tif", "--format", "tiff,png")
    assert tifffile.imread("predictions/labels/large.tif").shape == (300, 400)
    assert tifffile.imread("predictions/masks/large.tif").shape == (300, 400)


def test_label_tiff_is_written_in_bounded_memory(tmp_path: Path) -> None:
    writer = LabelWriter(create_settings(tmp_path))

    def measure_peak(height: int) -> int:
        image = SourceImage(Path(__file__), "x.png", "x")
        with RowFile(2_000, np.uint8) as rows:
            rows.write(0, np.ones((height, 2_000), np.uint8))
            tracemalloc.start()
            writer.write(PredictedMask(image, height, 2_000, rows, None))
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        return peak

    measure_peak(10)  # imports
    assert measure_peak(12_000) - measure_peak(3_000) < 9_000 * 2_000 / 4


@pytest.mark.parametrize(
    ("pixel", "unit", "resolution"),
    [(PixelSize(2.0, 0.5, "mm"), 3, (20, 5)), (PixelSize(0.5, 0.25, "furlong"), 1, (4, 2))],
)
def test_pixel_size_replaces_that_of_the_image(
    pixel: PixelSize, unit: int, resolution: tuple[float, float], tmp_path: Path
) -> None:
    source = tmp_path / "x.tif"
    tifffile.imwrite(source, np.zeros((9, 9), np.uint8), resolution=(300, 300), resolutionunit="INCH")
    write_mask(
        LabelWriter(create_settings(tmp_path, pixel=pixel)),
        np.eye(9, dtype=np.uint8),
        SourceImage(source, "x.tif", "x"),
    )
    with tifffile.TiffFile(tmp_path / "labels/x.tif") as file:
        tags = file.pages[0].tags
        assert tags["ResolutionUnit"].value == unit
        assert tuple(tags[tag].value[0] / tags[tag].value[1] for tag in ("XResolution", "YResolution")) == resolution


def test_names_with_unusual_characters_are_valid_json(tmp_path: Path) -> None:
    image = SourceImage(Path(os.fsdecode(b'/x/caf\xe9 "1".png')), os.fsdecode(b'caf\xe9 "1".png'), "cafe")
    mask = np.array([[0, 1, 1], [2, 0, 1]], np.uint8)
    for writer in (CocoWriter(create_settings(tmp_path)), LabelMeWriter(create_settings(tmp_path))):
        write_mask(writer, mask, image)
        writer.finish()
    coco = COCO(tmp_path / "coco.json")
    assert [one["name"] for one in coco.loadCats(coco.getCatIds())] == ["Zell-Kern é", "tissue_2"]
    assert coco.loadImgs(1)[0]["file_name"] == 'caf\\udce9 "1".png'
    shapes = json.loads((tmp_path / "labelme/cafe.json").read_text(encoding="utf-8"))["shapes"]
    assert [shape["label"] for shape in shapes] == ["Zell-Kern é", "tissue_2"]
    assert [coco.annToMask(one).tolist() for one in coco.loadAnns(coco.getAnnIds())] == [
        (mask == 1).astype(int).tolist(),
        (mask == 2).astype(int).tolist(),
    ]


def test_mask_of_background_only_has_no_annotation(tmp_path: Path) -> None:
    writers = CocoWriter(create_settings(tmp_path)), LabelMeWriter(create_settings(tmp_path))
    for writer in writers:
        write_mask(writer, np.zeros((5, 4), np.uint8), SourceImage(Path("x.png"), "x.png", "x"))
        writer.finish()
    assert COCO(tmp_path / "coco.json").getAnnIds() == []
    assert json.loads((tmp_path / "labelme/x.json").read_text())["shapes"] == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--format", "jpeg"], "unknown format 'jpeg'"),
        (["--format", "cocoo"], "did you mean coco?"),
        (["--format", "png,"], "unknown format ''"),
        (["--format", "png,tiff", "--format", "png"], "'png' is repeated"),
        (["--out", "file/predictions"], "--out: file/predictions is not writable"),
    ],
)
def test_invalid_options_are_refused(
    arguments: list[str], message: str, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(trained)
    Path("file").touch()
    Image.new("RGB", (20, 20)).save(tmp_path / "a.png")
    assert message in predict(tmp_path / "a.png", *arguments, code=1).output


@pytest.mark.parametrize("name", ["coco", "labelme"])
def test_outlines_without_foreground_class_are_refused(name: str, project: Path) -> None:
    path = project / PREPARED / PreparedData.CLASSES
    content = json.loads(path.read_text(encoding="utf-8"))
    for item in content["classes"]:
        item["foreground"] = False
    path.write_text(json.dumps(content), encoding="utf-8")
    params = read_params(write_params(project, {"grid": {"variant": ["unet"], "learning_rate": [0.01], "seed": [0]}}))
    train_cell(params.cell("unet", 0.01, 0))
    Image.new("RGB", (20, 20)).save("a.png")
    assert f"--format {name}: no class of the data is foreground" in predict("a.png", "--format", name, code=1).output
    assert not Path("predictions").exists()


def test_background_is_the_class_without_category_or_else_the_first_background(tmp_path: Path) -> None:
    road = {"name": "road", "color": "#112233", "foreground": False}
    sky = {"name": "sky", "color": "#445566", "foreground": False}
    cell = {"name": "cell", "color": "#778899", "foreground": True}
    edge = {"name": "edge", "color": "#778800", "foreground": False, "is_boundary": True}

    def find(data: dict[str, Any], *items: tuple[dict[str, Any], Any]) -> int | None:
        key = "category" if "annotations" in data else "mask_value"
        section = {**data, "classes": [{**item, key: value} for item, value in items]}
        params = write_nuclei_params(tmp_path, data=section)
        classes = [SegmentationClass(**item) for item, _ in items]
        return find_background(params.data, classes)

    assert find(COCO_SECTION, (road, "road"), (cell, "cell"), (sky, None)) == 2
    panoptic = {**COCO_SECTION, "source": "coco_panoptic"}
    assert find(panoptic, (road, "road"), (cell, "cell")) is None
    masks = {key: value for key, value in SECTION.items() if key != "instances"}
    assert find(masks, (edge, 0), (cell, 1), (road, 2), (sky, 3)) == 2
    assert find(masks, (edge, 0), (cell, 1)) is None


def test_help_names_every_format() -> None:
    assert ", ".join(FORMATS).replace(", labelme", " or labelme") in " ".join(
        CliRunner().invoke(main, ["predict", "--help"]).output.split()
    )


def test_formats_are_completed_after_a_comma() -> None:
    environment = {
        "_PIPELINE_COMPLETE": "bash_complete",
        "COMP_WORDS": "pipeline predict --format png,c",
        "COMP_CWORD": "3",
    }
    done = CliRunner().invoke(main, [], prog_name="pipeline", complete_var="_PIPELINE_COMPLETE", env=environment)
    assert done.output == "plain,png,coco\n"


def test_images_that_state_another_pixel_size_are_reported(discs: Params) -> None:
    tifffile.imwrite("a.tif", np.zeros((40, 40, 3), np.uint8), resolution=(25_400, 25_400), resolutionunit="INCH")
    assert "data.pixel_size" not in predict("a.tif").output
    output = predict("a.tif", "--format", "tiff").output
    assert "1 image states another pixel size than data.pixel_size" in output.replace("\n", " ")
