"""`pipeline init` recognizes GeoTIFFs with masks or polygons."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from pipeline.errors import PipelineError
from pipeline.init.inspect_folder import inspect_folder
from pipeline.init.scenes import NO_SCENES
from pipeline.init.suggestion import validate_section
from pipeline.params.data import find_data_mistakes
from tests.aerial import draw_scene, list_polygons, write_geojson, write_geotiff, write_scenes, write_vector_scenes
from tests.optional import import_or_skip

Affine = import_or_skip("rasterio").Affine
shapely = import_or_skip("shapely")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def inspect(path: str = "scenes") -> tuple[dict, str]:
    suggestion = inspect_folder(Path(path))
    assert find_data_mistakes(validate_section(suggestion.section)) == []
    assert suggestion.patch
    return suggestion.section, "\n".join(suggestion.notices)


def test_scenes_with_masks_get_bands_tiles_blocks_and_a_pixel_size() -> None:
    write_scenes(Path("scenes"))
    section, notices = inspect()
    assert section["source"] == "image_mask_folder"
    assert section["scenes"] == {
        "bands": ["B02", "B03", "B04", "B08"],
        "tile": 32,
        "block": 1,
        "gap": 8,
        "window": None,
    }
    assert (section["image_size"], section["channels"]) == ("native", 4)
    assert (section["pixel_size"], section["pixel_unit"]) == (10.0, "m")
    assert "data.scenes: tiles of 32 px" in notices


def test_pixel_size_in_web_mercator_is_that_on_the_ground_with_a_notice() -> None:
    for seed in range(2):
        bands, mask = draw_scene(seed)
        place = {"crs": "EPSG:3857", "transform": Affine(10, 0, 1_113_194 + seed * 2_000, 0, -10, 6_800_605)}
        write_geotiff(Path(f"scenes/images/area{seed}.tif"), bands, **place)
        write_geotiff(Path(f"scenes/masks/area{seed}.tif"), mask[None], **place)
    section, notices = inspect()
    assert section["pixel_size"] == pytest.approx([6.1537, 6.1695], rel=1e-4)
    assert section["pixel_unit"] == "m"
    assert "measured on the ground" in notices


def test_window_is_proposed_for_reflectance_and_for_small_values() -> None:
    for divisor, dtype in ((65_535, np.float32), (20, np.uint16)):
        write_scenes(Path("scenes"))
        for seed in range(2):
            values = (draw_scene(seed)[0] / divisor).astype(dtype)
            write_geotiff(Path(f"scenes/images/area{seed}.tif"), values, seed, nodata=0)
        section, notices = inspect()
        low, high = section["scenes"]["window"]
        assert 8_000 / divisor <= low < high <= 51_000 / divisor
        assert "data.scenes.window" in notices


def test_pixels_beyond_the_edge_of_a_scene_are_no_class() -> None:
    write_scenes(Path("scenes"))
    for seed in range(2):
        mask = draw_scene(seed)[1] + np.uint8(1)
        write_geotiff(Path(f"scenes/masks/area{seed}.tif"), mask[None], seed)
    classes = inspect()[0]["classes"]
    assert [(item["name"], item["mask_value"]) for item in classes] == [("background", 1), ("foreground", 2)]


def test_nodata_of_masks_is_no_class() -> None:
    write_scenes(Path("scenes"))
    for seed in range(2):
        _, mask = draw_scene(seed)
        mask[:10] = 7
        write_geotiff(Path(f"scenes/masks/area{seed}.tif"), mask[None], seed, nodata=7)
    section, notices = inspect()
    assert [item["mask_value"] for item in section["classes"]] == [0, 1]
    assert "declare 7 as nodata" in notices


def test_black_of_color_masks_is_the_background_and_other_nodata_is_no_class() -> None:
    write_scenes(Path("scenes"))
    for nodata, kept in ((0, ["#000000", "#ff0000", "#ffffff"]), (255, ["#000000", "#ff0000"])):
        for seed in range(2):
            mask = draw_scene(seed)[1]
            mask[:10] = 2
            values = np.array([(0, 0, 0), (255, 0, 0), (255, 255, 255)], np.uint8)[mask]
            write_geotiff(Path(f"scenes/masks/area{seed}.tif"), np.moveaxis(values, -1, 0), seed, nodata=nodata)
        section, notices = inspect()
        assert sorted(item["mask_value"] for item in section["classes"]) == kept
        assert f"declare {nodata} as nodata" in notices


@pytest.mark.parametrize(
    ("colors", "background"), [([9, 1, 2], 9), ([(255, 255, 255), (255, 0, 0), (0, 0, 255)], "#ffffff")]
)
def test_background_that_masks_declare_as_nodata_is_a_class(colors: list, background: object) -> None:
    write_scenes(Path("scenes"))
    for seed in range(2):
        mask = draw_scene(seed)[1]
        mask[60:75, 60:75] = 2
        values = np.array(colors, np.uint8)[mask]
        bands = np.moveaxis(values, -1, 0) if values.ndim == 3 else values[None]
        write_geotiff(Path(f"scenes/masks/area{seed}.tif"), bands, seed, nodata=np.ravel(colors)[0])
    section, notices = inspect()
    assert [item["mask_value"] for item in section["classes"] if not item["foreground"]] == [background]
    assert len(section["classes"]) == 3
    assert "taken for the class background" in notices


def test_nodata_0_is_no_class_if_the_background_has_another_value() -> None:
    write_scenes(Path("scenes"))
    for seed in range(2):
        mask = draw_scene(seed)[1] + np.uint8(1)
        mask[10:30, 10:30], mask[40:60, 40:60] = 3, 4
        mask[3:6, 3:90] = 0
        write_geotiff(Path(f"scenes/masks/area{seed}.tif"), mask[None], seed, nodata=0)
    section, notices = inspect()
    assert [item["mask_value"] for item in section["classes"]] == [1, 2, 3, 4]
    assert "the class class_0 is left out" in notices


def test_many_small_files_are_not_cut() -> None:
    write_scenes(Path("scenes"), 20)
    assert inspect()[0]["scenes"]["tile"] is None


def test_scenes_with_polygons_get_the_attribute_and_its_categories() -> None:
    write_vector_scenes(Path("scenes"))
    section, notices = inspect()
    assert {key: section[key] for key in ("source", "annotations", "attribute", "area")} == {
        "source": "geo_vectors", "annotations": "buildings.geojson", "attribute": "kind", "area": None,
    }  # fmt: skip
    assert [item["category"] for item in section["classes"]] == [None, "building"]
    assert "data.attribute: kind is proposed" in notices


def test_area_and_one_file_per_scene_are_recognized_by_their_names() -> None:
    write_vector_scenes(Path("scenes"))
    Path("scenes/buildings.geojson").unlink()
    for seed, ending in enumerate(("geojson", "GEOJSON")):
        write_geojson(Path(f"scenes/labels/area{seed}.{ending}"), list_polygons(seed), number=seed + 0.5)
    write_geojson(Path("scenes/boundary.geojson"), [shapely.box(500_000, 4_999_000, 502_000, 5_000_000)])
    section, _ = inspect()
    assert (section["images"], section["annotations"]) == ("images/*", "labels/*.geojson")
    assert (section["attribute"], section["area"]) == (None, "boundary.geojson")


def test_file_without_polygons_is_an_error() -> None:
    write_vector_scenes(Path("scenes"))
    write_geojson(Path("scenes/buildings.geojson"), [])
    with pytest.raises(PipelineError, match="has no polygons"):
        inspect_folder(Path("scenes"))


def test_several_files_with_polygons_are_an_error() -> None:
    write_vector_scenes(Path("scenes"))
    write_geojson(Path("scenes/roads.geojson"), list_polygons(0))
    with pytest.raises(PipelineError, match="several files with polygons"):
        inspect_folder(Path("scenes"))


def test_tiffs_without_a_georeference_are_images() -> None:
    for kind in ("images", "masks"):
        Path("scenes", kind).mkdir(parents=True)
        for seed in range(2):
            bands, mask = draw_scene(seed)
            pixels = mask if kind == "masks" else np.moveaxis(bands[:3] // 256, 0, -1).astype(np.uint8)
            tifffile.imwrite(f"scenes/{kind}/area{seed}.tif", pixels)
    assert "scenes" not in inspect_folder(Path("scenes")).section


def test_stacks_with_a_georeference_are_volumes() -> None:
    geographic = (34735, "H", 8, (1, 1, 0, 1, 1024, 0, 1, 2), True)  # GeoKeyDirectory
    tags = [(33550, "d", 3, (1, 1, 0), True), (33922, "d", 6, (0, 0, 0, 9, 48, 0), True), geographic]
    for kind, values in (("images", np.arange(6 * 4 * 32 * 32) % 251), ("masks", np.arange(6 * 4 * 32 * 32) % 2)):
        Path("scenes", kind).mkdir(parents=True)
        for number, stack in enumerate(values.astype(np.uint8).reshape(6, 4, 32, 32)):
            tifffile.imwrite(f"scenes/{kind}/{number}.tif", stack, photometric="minisblack", extratags=tags)
    section = inspect_folder(Path("scenes")).section
    assert section["slices"] == {"axis": "z", "step": 1, "window": None}


def test_scenes_with_other_masks_are_images_with_a_notice() -> None:
    write_scenes(Path("scenes"))
    for path in Path("scenes/masks").iterdir():
        Image.fromarray(tifffile.imread(path)).save(path.with_suffix(".png"))
        path.unlink()
    suggestion = inspect_folder(Path("scenes"))
    assert "scenes" not in suggestion.section
    assert NO_SCENES in suggestion.notices


def test_scenes_are_images_with_a_notice_without_rasterio(monkeypatch: pytest.MonkeyPatch) -> None:
    write_scenes(Path("scenes"))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    suggestion = inspect_folder(Path("scenes"))
    assert "scenes" not in suggestion.section
    assert any("unet-learning-report[geo]" in notice for notice in suggestion.notices)


def test_polygons_without_a_category_are_ignored() -> None:
    write_vector_scenes(Path("scenes"))
    content = json.loads(Path("scenes/buildings.geojson").read_text())
    content["features"][0]["properties"] = {}
    Path("scenes/buildings.geojson").write_text(json.dumps(content))
    section, _ = inspect()
    assert [item["category"] for item in section["classes"]] == [None, "building"]
    assert section["ignore_value"] == ["null"]
