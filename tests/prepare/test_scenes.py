"""Scenes as sources: tiles are images, blocks of tiles are groups, and nodata pixels are ignored."""

from __future__ import annotations

import csv
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.artifacts.prepared_data import SPLITS, PreparedData
from pipeline.errors import PipelineError
from pipeline.imaging import IGNORE
from pipeline.imaging.decode import read_image
from pipeline.imaging.errors import ImageError
from pipeline.params.data import find_data_mistakes
from pipeline.params.data.image_data import FolderData
from pipeline.prepare.data_issues import IssueKind
from pipeline.prepare.dataset_stats import add_mask_notices
from pipeline.prepare.image_mask_pair import PairCollection
from pipeline.prepare.prepare_data import collect_pairs, create_source, write_source
from pipeline.prepare.read_file import read_file
from pipeline.scenes.tile_file import TileReference, list_tiles
from tests.aerial import CRS, DATA, SIDE, draw_scene, locate_scene, write_geotiff, write_scenes
from tests.optional import import_or_skip

rasterio = import_or_skip("rasterio")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def parse(**changes: Any) -> FolderData:
    scenes = {**DATA["scenes"], **changes.pop("scenes", {})}
    data = FolderData.model_validate({**DATA, **changes, "scenes": scenes})
    assert find_data_mistakes(data) == []
    return data


def prepare(data: FolderData) -> list[dict[str, str]]:
    write_source(create_source(data), data, Path("prepared"))
    with Path("prepared/samples.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def decode_mask(collection: PairCollection, name: str) -> np.ndarray:
    return collection.masks.decode(collection.masks.read(collection.folder, collection.pairs[name].mask))


@given(
    st.integers(1, 200), st.integers(1, 200), st.integers(1, 64), st.integers(1, 5), st.integers(0, 40)
)  # fmt: skip
def test_tiles_cover_each_pixel_once_and_blocks_are_apart(
    height: int, width: int, tile: int, block: int, gap: int
) -> None:
    covered = np.zeros((height, width), int)
    owner = np.full((height, width), -1)
    blocks: dict[tuple[int, int], int] = {}
    for one in list_tiles(height, width, tile, block, gap):
        assert one.top < height and one.left < width
        window = slice(one.top, one.top + tile), slice(one.left, one.left + tile)
        covered[window] += 1
        owner[window] = blocks.setdefault(one.block, len(blocks))
    assert covered.max() == 1
    if gap == 0:
        assert covered.min() == 1
    for axis in (0, 1):
        lines = np.moveaxis(owner, axis, 1)
        for line in lines:
            places = np.flatnonzero(line >= 0)
            changes = np.flatnonzero(np.diff(line[places]))
            assert all(places[place + 1] - places[place] == gap + 1 for place in changes)


def test_tiles_of_a_block_are_in_one_split_and_are_one_group() -> None:
    write_scenes(Path("scenes"))
    samples = prepare(parse())
    assert len(samples) == 2 * (SIDE // 16) ** 2 - 3  # the block of the showcase is in no split
    splits = defaultdict(set)
    for sample in samples:
        splits[sample["groups"]].add(sample["split"])
    assert len(splits) == 2 * (SIDE // 32) ** 2
    assert all(len(found) == 1 for found in splits.values())
    assert {split for found in splits.values() for split in found} >= set(SPLITS)


def test_prepared_tiles_are_the_selected_bands_of_the_scene() -> None:
    write_scenes(Path("scenes"), interleave="band", compress="lzw")
    samples = prepare(parse())
    rows = [sample["id"] for sample in samples if sample["split"] == "train"]
    images = PreparedData(Path("prepared")).open_split("train").images
    for name, image in zip(rows, images, strict=True):
        scene, row, column = name.split("_")
        bands, _ = draw_scene(int(scene.removeprefix("area")))
        top, left = 16 * int(row[1:]), 16 * int(column[1:])
        np.testing.assert_array_equal(image, np.moveaxis(bands[[3, 2], top : top + 16, left : left + 16], 0, -1))


def test_whole_files_are_images_without_a_tile() -> None:
    write_scenes(Path("scenes"), 4)
    pairs = collect_pairs(parse(scenes={"tile": None, "bands": [1, 4]})).pairs
    assert list(pairs) == [f"area{seed}" for seed in range(4)]
    assert {pair.volume for pair in pairs.values()} == {""}


def test_gap_leaves_out_strips_between_blocks() -> None:
    write_scenes(Path("scenes"))
    tiles = [TileReference.parse(pair.image) for pair in collect_pairs(parse(scenes={"gap": 8})).pairs.values()]
    assert sorted({tile.left for tile in tiles if tile}) == [0, 16, 40, 56, 80]


def test_pixels_beyond_the_scene_are_ignored() -> None:
    write_scenes(Path("scenes"))
    collection = collect_pairs(parse(scenes={"tile": 20, "block": 2}))
    mask = decode_mask(collection, "area0_r04_c04")
    assert (mask[16:] == IGNORE).all() and (mask[:, 16:] == IGNORE).all()
    np.testing.assert_array_equal(mask[:16, :16], draw_scene(0)[1][80:, 80:])


@pytest.mark.parametrize("ignored", [None, 255])
def test_ignored_pixels_give_advice_about_the_ignored_value_only_if_there_is_one(ignored: int | None) -> None:
    mask = np.zeros((1, SIDE, SIDE), np.uint8)
    mask[:, :10, :10] = 1
    for seed in range(2):
        write_geotiff(Path(f"scenes/images/area{seed}.tif"), draw_scene(seed)[0], seed)
        write_geotiff(Path(f"scenes/masks/area{seed}.tif"), mask, seed)
    source = create_source(parse(ignore_value=ignored, scenes={"tile": 20}))
    notices = add_mask_notices(source.read(lambda *_: None)).notices
    assert any("ignore_value: null" in notice for notice in notices) is (ignored is not None)


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_nodata_of_the_image_is_ignored_and_reported(dtype: str) -> None:
    write_scenes(Path("scenes"))
    bands, _ = draw_scene(0)
    values = bands.astype(dtype)
    values[:, :40, :16] = 9 if dtype == "uint16" else np.nan
    options = {"nodata": 9} if dtype == "uint16" else {}
    write_geotiff(Path("scenes/images/area0.tif"), values, **options)
    collection = collect_pairs(parse(scenes={"window": [0, 65_535]}))
    assert "area0_r00_c00" not in collection.pairs  # without any data
    assert ("images/area0.tif", "2 of 36 tiles have no labeled pixels") in collection.skipped
    assert collection.notices[0].startswith(f"640 of {SIDE * SIDE:,} pixels")
    mask = decode_mask(collection, "area0_r02_c00")
    assert (mask[:8] == IGNORE).all() and not (mask[8:] == IGNORE).any()
    content = read_file(collection.folder, collection.pairs["area0_r02_c00"].image, collection.window)
    assert content
    prepare(parse(scenes={"window": [0, 65_535]}))


def test_single_nodata_band_is_data() -> None:
    """A dark pixel of one band is not a missing pixel."""
    write_scenes(Path("scenes"))
    bands, _ = draw_scene(0)
    bands[3, :20] = 0
    write_geotiff(Path("scenes/images/area0.tif"), bands, nodata=0)
    assert not (decode_mask(collect_pairs(parse()), "area0_r00_c00") == IGNORE).any()


def test_nodata_of_the_mask_is_ignored_unless_it_is_a_class() -> None:
    write_scenes(Path("scenes"))
    _, mask = draw_scene(0)
    mask[:8] = 7
    write_geotiff(Path("scenes/masks/area0.tif"), mask[None], nodata=7)
    _, other = draw_scene(1)
    write_geotiff(Path("scenes/masks/area1.tif"), other[None], 1, nodata=0)
    collection = collect_pairs(parse())
    found = decode_mask(collection, "area0_r00_c00")
    assert (found[:8] == IGNORE).all()
    np.testing.assert_array_equal(found[8:], mask[8:16, :16])
    np.testing.assert_array_equal(decode_mask(collection, "area1_r00_c00"), other[:16, :16])


def test_masks_may_have_colors() -> None:
    write_scenes(Path("scenes"))
    colors = ["#102030", "#ff0000"]
    for seed in range(2):
        mask = draw_scene(seed)[1]
        mask[:8] = 2
        values = np.array([(0x10, 0x20, 0x30), (0xFF, 0, 0), (9, 9, 9)], np.uint8)[mask]
        write_geotiff(Path(f"scenes/masks/area{seed}.tif"), np.moveaxis(values, -1, 0), seed, nodata=9)
    classes = [{**item, "mask_value": color} for item, color in zip(DATA["classes"], colors, strict=True)]
    collection = collect_pairs(parse(classes=classes, scenes={"tile": 20}))
    found = decode_mask(collection, "area0_r00_c04")
    assert (found[:8] == IGNORE).all() and (found[:, 16:] == IGNORE).all()
    np.testing.assert_array_equal(found[8:, :16], draw_scene(0)[1][8:20, 80:])


@pytest.mark.parametrize(
    ("colors", "nodata"),
    [(["#000000", "#ff0000"], 0), (["#ff0000", "#ffffff"], 255), (["#000000", "#ff0000"], 255)],
)
def test_gray_color_that_a_class_declares_is_data_even_if_it_is_nodata(colors: list[str], nodata: int) -> None:
    write_scenes(Path("scenes"))
    levels = np.array([list(bytes.fromhex(color[1:])) for color in colors], np.uint8)
    for seed in range(2):
        values = np.moveaxis(levels[draw_scene(seed)[1]], -1, 0)
        write_geotiff(Path(f"scenes/masks/area{seed}.tif"), values, seed, nodata=nodata)
    classes = [{**item, "mask_value": color} for item, color in zip(DATA["classes"], colors, strict=True)]
    found = decode_mask(collect_pairs(parse(classes=classes)), "area0_r00_c00")
    np.testing.assert_array_equal(found, draw_scene(0)[1][:16, :16])


def test_broken_part_of_a_scene_is_an_issue_of_its_tiles() -> None:
    write_scenes(Path("scenes"), nodata=0)
    path = Path("scenes/images/area0.tif")
    content = path.read_bytes()
    path.write_bytes(content[:2000] + bytes(4000) + content[6000:])
    error = create_source(parse()).read(lambda *_: None).error
    assert error is not None
    assert "images/area0.tif[x=" in str(error)
    assert "area1" not in str(error)


def test_scene_without_any_data_is_an_issue() -> None:
    write_scenes(Path("scenes"))
    write_geotiff(Path("scenes/images/area1.tif"), np.full((4, SIDE, SIDE), 3, np.uint16), 1, nodata=3)
    issues = collect_pairs(parse()).issues
    assert [(issue.kind, issue.file) for issue in issues] == [(IssueKind.UNREADABLE, "images/area1.tif")]


def test_bands_are_required_to_exist_and_the_message_lists_them() -> None:
    write_scenes(Path("scenes"))
    with pytest.raises(PipelineError, match=r"no band 'B8'; its bands are 1 \(B02\).*Did you mean 'B08'"):
        collect_pairs(parse(scenes={"bands": ["B8", 1]}))
    with pytest.raises(PipelineError, match="has no band 5"):
        collect_pairs(parse(scenes={"bands": [1, 5]}))
    with pytest.raises(PipelineError, match=r"data\.channels: is 3, but images/area0\.tif has 4 bands"):
        collect_pairs(parse(channels=3, scenes={"bands": None}))


def test_values_without_a_window_are_an_error_with_their_range() -> None:
    write_scenes(Path("scenes"))
    for seed in range(2):
        bands = (draw_scene(seed)[0] / 65_535).astype(np.float32)
        bands[:, 0, 0] = np.nan
        write_geotiff(Path(f"scenes/images/area{seed}.tif"), bands, seed)
    with pytest.raises(PipelineError, match=r"data\.scenes\.window: is missing.*float32, from 0\.1"):
        collect_pairs(parse())
    samples = prepare(parse(scenes={"window": [0, 1], "bits": 16}))
    assert samples
    assert PreparedData(Path("prepared")).open_split("train").images[0].dtype == np.uint16


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"crs": "EPSG:32633"}, "its CRS is EPSG:32633, but that of the image is EPSG:32632"),
        ({"seed": 1}, "its transform moves corners"),
        ({"side": SIDE - 16}, "80 × 80 px, but the image has 96 × 96 px"),
    ],
)
def test_mask_with_other_pixels_than_its_scene_is_an_issue(options: dict[str, Any], message: str) -> None:
    write_scenes(Path("scenes"))
    seed, side = options.pop("seed", 0), options.pop("side", SIDE)
    write_geotiff(Path("scenes/masks/area0.tif"), draw_scene(0)[1][None, :side, :side], seed, **options)
    [issue] = collect_pairs(parse()).issues
    assert (issue.kind, issue.id) == (IssueKind.GEOMETRY, "area0")
    assert message in str(issue)


@pytest.mark.parametrize(
    "options",
    [
        {"compress": "jpeg", "photometric": "ycbcr", "interleave": "pixel"},
        {"BIGTIFF": "YES", "compress": "zstd"},
        {"tiled": False, "compress": "packbits", "blockysize": 1},
        {"photometric": "rgb", "alpha": "yes"},
    ],
)
def test_scene_is_read_in_any_storage(options: dict[str, Any]) -> None:
    write_scenes(Path("scenes"))
    count = 4 if "alpha" in options else 3
    for seed in range(2):
        bands = (draw_scene(seed)[0][:count] // 256).astype(np.uint8)
        if count == 4:
            bands[3] = 255
            bands[3, :16, :16] = 0  # transparent
        write_geotiff(Path(f"scenes/images/area{seed}.tif"), bands, seed, names=(), **options)
    collection = collect_pairs(parse(channels=3, scenes={"bands": None}))
    assert ("area0_r00_c00" in collection.pairs) == (count == 3)
    assert not collection.issues
    with rasterio.open("scenes/images/area0.tif") as file:
        expected = np.moveaxis(file.read([1, 2, 3], window=((16, 32), (16, 32))), 0, -1)
    name = collection.pairs["area0_r01_c01"].image
    content = read_file(collection.folder, name)
    np.testing.assert_array_equal(read_image(content, 3), expected)


def test_split_list_names_scenes() -> None:
    write_scenes(Path("scenes"), 4)
    Path("scenes/splits.csv").write_text("id,split\narea0,train\narea1,validation\narea2,test\narea3,train\n")
    samples = prepare(parse(splits={"validation": 0, "test": 0}, showcase_ids=["area3_r00_c00"]))
    found = {(sample["id"].partition("_")[0], sample["split"]) for sample in samples}
    assert found == {
        ("area0", "train"), ("area1", "validation"), ("area2", "test"), ("area3", "train"), ("area3", "showcase"),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"image_size": 32}, "data.image_size"),
        ({"channels": None}, "data.channels"),
        ({"channels": 3}, "data.channels"),
        ({"slices": {"axis": "z"}}, "data.scenes"),
        ({"masks": "masks/*_{class}"}, "data.masks"),
        ({"scenes": {"tile": 16, "bands": [1, 1]}}, "data.scenes.bands"),
    ],
)
def test_contradictory_keys_are_mistakes(changes: dict[str, Any], key: str) -> None:
    data = FolderData.model_validate({**DATA, **changes})
    assert any(mistake.startswith(f"{key}:") for mistake in find_data_mistakes(data))


@pytest.mark.parametrize("tile", [None, 16])
def test_scene_that_declares_a_huge_size_is_an_issue(tile: int | None) -> None:
    """Sparse files declare 40,000 x 40,000 px."""
    write_scenes(Path("scenes"))
    shape = {"height": 40_000, "width": 40_000, "dtype": "uint16", "crs": CRS, "transform": locate_scene(0)}
    for kind, count in (("images", 4), ("masks", 1)):
        path = f"scenes/{kind}/area0.tif"
        with rasterio.open(path, "w", driver="GTiff", tiled=True, SPARSE_OK=True, count=count, **shape):
            pass
    [issue] = collect_pairs(parse(scenes={"tile": tile, "bands": [1, 4]})).issues
    assert (issue.id, "data.scenes.tile" in str(issue)) == ("area0", True)


def test_too_many_tiles_are_refused() -> None:
    with pytest.raises(ImageError, match="at most 100,000"):
        list(list_tiles(2**31, 2**31, 256, 4, 0))
