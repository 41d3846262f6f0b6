"""Polygons as labels of scenes: GeoJSON, GeoPackages and shapefiles, in any CRS."""

from __future__ import annotations

import json
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.errors import PipelineError
from pipeline.imaging import IGNORE
from pipeline.params.data import find_data_mistakes
from pipeline.params.data.image_data import GeoVectorsData
from pipeline.prepare.data_issues import IssueKind
from pipeline.prepare.dataset_stats import add_mask_notices
from pipeline.prepare.image_mask_pair import PairCollection
from pipeline.prepare.prepare_data import collect_pairs, create_source
from tests.aerial import (
    CRS,
    SIDE,
    VECTOR_DATA,
    draw_scene,
    list_polygons,
    locate_scene,
    write_geojson,
    write_geotiff,
    write_vector_scenes,
)
from tests.optional import import_or_skip

rasterio, shapely, pyogrio = map(import_or_skip, ("rasterio", "shapely", "pyogrio"))
import_or_skip("rasterio.warp")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return write_vector_scenes(Path("scenes"))


def parse(**changes: Any) -> GeoVectorsData:
    data = GeoVectorsData.model_validate({**VECTOR_DATA, **changes})
    assert find_data_mistakes(data) == []
    return data


def draw(collection: PairCollection, seed: int = 0) -> np.ndarray:
    """Put the masks of a scene's tiles together; tiles that were left out are IGNORE."""
    mask = np.full((SIDE, SIDE), IGNORE)
    for name, pair in collection.pairs.items():
        if name.startswith(f"area{seed}_"):
            row, column = (16 * int(part[1:]) for part in name.split("_")[1:])
            mask[row : row + 16, column : column + 16] = collection.masks.decode(
                collection.masks.read(collection.folder, pair.mask)
            )
    return mask


def write_layer(path: Path, polygons: list[Any], crs: str | None = CRS, kinds: list[str] | None = None) -> Path:
    """Write polygons with GDAL, in the format of the ending."""
    pyogrio.raw.write(
        path,
        np.array([shapely.to_wkb(one) for one in polygons], object),
        [np.array(kinds or ["building"] * len(polygons), object)],
        ["kind"],
        geometry_type="Polygon",
        crs=crs,
        **({"layer": "buildings"} if path.suffix == ".gpkg" else {}),
    )
    return path


def reproject(polygons: list[Any], crs: str) -> list[Any]:
    def transform(points: np.ndarray) -> np.ndarray:
        return np.column_stack(rasterio.warp.transform(CRS, crs, points[:, 0], points[:, 1]))

    return [shapely.transform(one, transform) for one in polygons]


def all_polygons() -> list[Any]:
    return [*list_polygons(0), *list_polygons(1)]


def test_archive_of_scenes_and_polygons(folder: Path) -> None:
    shutil.make_archive("region", "zip", folder)
    packed, expected = collect_pairs(parse(path="region.zip")), collect_pairs(parse())
    assert packed.pairs == expected.pairs
    assert packed.title == "The images in region.zip"


@pytest.mark.parametrize("name", ["buildings.geojson", "buildings.gpkg", "buildings.shp"])
def test_polygons_of_every_format_are_drawn_as_the_mask(name: str) -> None:
    if not name.endswith("json"):
        write_layer(Path("scenes", name), all_polygons())
    collection = collect_pairs(parse(annotations=name))
    for seed in range(2):
        np.testing.assert_array_equal(draw(collection, seed), draw_scene(seed)[1])
    assert create_source(parse(annotations=name)).read(lambda *_: None).error is None


@pytest.mark.parametrize("crs", [None, "EPSG:4326", "EPSG:3857", "EPSG:32633"])
def test_polygons_are_transformed_to_the_crs_of_the_scene(crs: str | None) -> None:
    polygons = reproject(all_polygons(), crs or "EPSG:4326")
    write_geojson(Path("scenes/buildings.geojson"), polygons, crs)
    mask = draw(collect_pairs(parse()))
    assert (mask != draw_scene(0)[1]).mean() < 0.002  # rounding at edges


def test_one_file_per_scene_is_paired_by_its_name() -> None:
    for seed in range(2):
        write_geojson(Path(f"scenes/labels/area{seed}.geojson"), list_polygons(seed))
    data = parse(images="images/*.tif", annotations="labels/*.geojson")
    np.testing.assert_array_equal(draw(collect_pairs(data), 1), draw_scene(1)[1])
    Path("scenes/labels/area0.geojson").unlink()
    [issue] = collect_pairs(data).issues
    assert (issue.kind, issue.id) == (IssueKind.NO_TRUTH, "area0")


def test_scene_that_no_polygon_of_its_own_file_overlaps_is_an_issue() -> None:
    write_geojson(Path("scenes/labels/area0.geojson"), list_polygons(0))
    write_geojson(Path("scenes/labels/area1.geojson"), list_polygons(1), "EPSG:32633")
    data = parse(images="images/*.tif", annotations="labels/*.geojson")
    collection = collect_pairs(data)
    [issue] = collection.issues
    assert (issue.kind, issue.id, issue.file) == (IssueKind.OUTSIDE, "area1", "images/area1.tif")
    assert {name.partition("_")[0] for name in collection.pairs} == {"area0"}
    write_geojson(Path("scenes/labels/area1.geojson"), [])
    collection = collect_pairs(data)
    assert (list(collection.issues), list(collection.notices)) == ([], [])
    assert not draw(collection, 1).any()


def test_scene_that_no_polygon_of_the_shared_file_overlaps_gives_a_notice() -> None:
    assert not collect_pairs(parse()).notices
    write_geojson(Path("scenes/buildings.geojson"), list_polygons(1))
    collection = collect_pairs(parse())
    [notice] = collection.notices
    assert not collection.issues
    assert notice.startswith("No polygon of buildings.geojson overlaps 1 scene: images/area0.tif.")


def test_pixels_outside_the_area_are_ignored_and_empty_tiles_left_out() -> None:
    x, y = locate_scene(0).c, locate_scene(0).f
    write_geojson(Path("scenes/area.geojson"), [shapely.box(x, y - 400, x + 320, y)])
    Path("scenes/images/area1.tif").unlink()
    collection = collect_pairs(parse(area="area.geojson"))
    mask = draw(collection)
    np.testing.assert_array_equal(mask[:40, :32], draw_scene(0)[1][:40, :32])
    assert (mask[40:] == IGNORE).all() and (mask[:, 32:] == IGNORE).all()
    assert len(collection.pairs) == 6
    assert collection.skipped == [("images/area0.tif", "30 of 36 tiles have no labeled pixels")]


def test_ignored_pixels_without_an_ignored_value_give_no_advice_about_it() -> None:
    x, y = locate_scene(0).c, locate_scene(0).f
    write_geojson(Path("scenes/buildings.geojson"), [shapely.box(x, y - 100, x + 100, y)])
    write_geojson(Path("scenes/area.geojson"), [shapely.box(x, y - 700, x + 960, y)])
    Path("scenes/images/area1.tif").unlink()
    data = parse(area="area.geojson", scenes={**VECTOR_DATA["scenes"], "tile": 20})
    notices = add_mask_notices(create_source(data).read(lambda *_: None)).notices
    assert not any("ignore" in notice for notice in notices)


def test_small_polygons_are_on_top_and_ignored_categories_are_ignored() -> None:
    x, y = locate_scene(0).c, locate_scene(0).f
    boxes = [shapely.box(x + 10, y - 20, x + 20, y - 10), shapely.box(x, y - 50, x + 50, y)]
    write_layer(Path("scenes/b.gpkg"), boxes, kinds=["building", "cloud"])
    mask = draw(collect_pairs(parse(annotations="b.gpkg", ignore_value=["cloud"])))
    expected = np.zeros((SIDE, SIDE), int)
    expected[:5, :5] = IGNORE
    expected[1, 1] = 1
    np.testing.assert_array_equal(mask, expected)


def test_undeclared_category_is_an_issue_of_the_scenes_that_have_it() -> None:
    write_layer(Path("scenes/b.gpkg"), all_polygons(), kinds=["building"] * (len(all_polygons()) - 2) + ["road"] * 2)
    [issue] = collect_pairs(parse(annotations="b.gpkg")).issues
    assert (issue.kind, issue.id, dict(issue.undeclared)) == (IssueKind.CATEGORIES, "area1", {"road": 2})


def test_all_polygons_have_one_category_without_an_attribute() -> None:
    classes = [VECTOR_DATA["classes"][0], {**VECTOR_DATA["classes"][1], "category": "polygon"}]
    np.testing.assert_array_equal(draw(collect_pairs(parse(attribute=None, classes=classes))), draw_scene(0)[1])


def bowtie() -> Any:
    x, y = locate_scene(0).c, locate_scene(0).f
    return shapely.Polygon([(x, y), (x + 100, y - 100), (x + 100, y), (x, y - 100)])


def write_nested(path: Path) -> None:
    path.write_text('{"type": "FeatureCollection", "features": ' + "[" * 100_000 + "]" * 100_000 + "}")


def write_view(path: Path) -> None:
    write_layer(path, all_polygons())
    with sqlite3.connect(path) as connection:
        connection.execute("ALTER TABLE buildings RENAME TO hidden")
        connection.execute("CREATE VIEW buildings AS SELECT * FROM hidden")
    connection.close()


def write_without_crs(path: Path) -> None:
    write_layer(path, all_polygons()).with_suffix(".prj").unlink()


def write_roads(path: Path) -> None:
    write_layer(path, all_polygons(), kinds=["road"] * len(all_polygons()))


VRT = '<OGRVRTDataSource><OGRVRTLayer name="a"><SrcDataSource>/vsicurl/http://example.com/a</SrcDataSource></OGRVRTLayer></OGRVRTDataSource>'  # fmt: skip  # noqa: E501


@pytest.mark.parametrize(
    ("name", "write", "message"),
    [
        ("a.geojson", lambda path: None, "does not exist"),
        ("a.gpkg", lambda path: None, "does not exist"),
        ("a.kml", lambda path: path.write_text("<kml/>"), "supported extensions"),
        ("a.geojson", lambda path: write_geojson(path, []), "no polygons"),
        ("a.geojson", lambda path: write_geojson(path, all_polygons(), None), "coordinates must be degrees"),
        ("a.geojson", lambda path: write_geojson(path, all_polygons(), "/vsicurl/http://x"), "crs member"),
        ("a.geojson", lambda path: write_geojson(path, all_polygons(), use="x"), "no attribute 'kind'"),
        ("a.geojson", lambda path: write_geojson(path, [shapely.Point(5e5, 5e6)]), "not a polygon"),
        ("a.geojson", lambda path: write_geojson(path, [bowtie()]), "Self-intersection"),
        ("a.geojson", lambda path: write_geojson(path, [shapely.box(0, 0, 1, 1)]), "overlaps a scene"),
        ("a.geojson", write_nested, "is not JSON"),
        ("a.geojson", lambda path: path.write_text(VRT), "is not JSON"),
        ("a.geojson", lambda path: path.write_text('{"type": "FeatureCollection", "features": [7]}'), "not GeoJSON"),
        ("a.geojson", lambda path: path.write_text('{"geometry": {"type": "Polygon"}}'), "cannot be read"),
        ("a.gpkg", lambda path: path.write_text(VRT), "is not a GeoPackage"),
        ("a.shp", lambda path: path.write_text(VRT), "is not a shapefile"),
        ("a.gpkg", lambda path: path.write_bytes(b"SQLite format 3\0" + bytes(500)), "is not a GeoPackage"),
        ("a.shp", lambda path: path.write_bytes(b"\0\0\x27\x0a" + bytes(500)), "cannot be read"),
        ("a.shp", write_without_crs, "has no CRS"),
        ("a.gpkg", write_view, "has a view"),
        ("a.gpkg", write_roads, "no category 'building'"),
    ],
)  # fmt: skip
def test_unusable_file_is_an_error_that_says_why(name: str, write: Any, message: str) -> None:
    write(Path("scenes", name))
    with pytest.raises(PipelineError, match=message):
        collect_pairs(parse(annotations=name))


def test_scene_without_crs_cannot_have_polygons() -> None:
    write_geotiff(Path("scenes/images/area0.tif"), draw_scene(0)[0], crs=None)
    [issue] = collect_pairs(parse()).issues
    assert issue.id == "area0" and "has no CRS" in str(issue)


def test_large_geojson_is_refused_before_it_is_read() -> None:
    with Path("scenes/a.geojson").open("wb") as file:
        file.truncate(1_000_000_000)
    with pytest.raises(PipelineError, match="the limit is"):
        collect_pairs(parse(annotations="a.geojson"))


@pytest.mark.parametrize("key", ["annotations", "area"])
def test_path_outside_the_folder_is_a_mistake(key: str) -> None:
    data = GeoVectorsData.model_validate({**VECTOR_DATA, key: "../secret.geojson"})
    assert any(mistake.startswith(f"data.{key}:") for mistake in find_data_mistakes(data))


def test_geojson_of_one_feature_is_read() -> None:
    collection = json.loads(Path("scenes/buildings.geojson").read_text())
    Path("scenes/one.json").write_text(json.dumps({**collection["features"][0], "crs": collection["crs"]}))
    assert (draw(collect_pairs(parse(annotations="one.json"))) == 1).any()
