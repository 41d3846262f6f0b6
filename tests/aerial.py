"""Small scenes with bright buildings, as GeoTIFFs with masks or polygons, and `data` sections for them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

CRS, ORIGIN, PIXEL = "EPSG:32632", (500_000.0, 5_000_000.0), 10.0  # m
SIDE = 96  # px of a scene
BANDS = ("B02", "B03", "B04", "B08")
CLASSES = [
    {"name": "ground", "mask_value": 0, "color": "#0072b2", "foreground": False},
    {"name": "building", "mask_value": 1, "color": "#e69f00", "foreground": True},
]
DATA: dict[str, Any] = {
    "source": "image_mask_folder",
    "path": "scenes",
    "scenes": {"tile": 16, "block": 2, "bands": ["B08", "B04"]},
    "image_size": "native",
    "channels": 2,
    "resize": "stretch",
    "classes": CLASSES,
    "ignore_value": None,
    "splits": {"validation": 0.2, "test": 0.2},
    "showcase_ids": None,
    "seed": 0,
    "max_train_images": None,
}
VECTOR_DATA: dict[str, Any] = {
    **{key: value for key, value in DATA.items() if key != "ignore_value"},
    "source": "geo_vectors",
    "annotations": "buildings.geojson",
    "attribute": "kind",
    "classes": [
        {"name": "ground", "category": None, "color": "#0072b2", "foreground": False},
        {"name": "building", "category": "building", "color": "#e69f00", "foreground": True},
    ],
}


def draw_boxes(seed: int, side: int = SIDE) -> list[tuple[int, int, int, int]]:
    """Draw the boxes of buildings: top, left, bottom, right in px. They do not overlap."""
    random = np.random.default_rng(seed)
    boxes = []
    for top in range(2, side - 12, 14):
        for left in range(2, side - 12, 14):
            height, width = random.integers(4, 11, 2)
            if random.random() < 0.7:
                boxes.append((top, left, int(top + height), int(left + width)))
    return boxes


def draw_scene(seed: int, side: int = SIDE) -> tuple[np.ndarray, np.ndarray]:
    """Draw the bands of a scene (4 x H x W, uint16) and its mask (H x W)."""
    random = np.random.default_rng(seed)
    mask = np.zeros((side, side), np.uint8)
    for top, left, bottom, right in draw_boxes(seed, side):
        mask[top:bottom, left:right] = 1
    ground = random.integers(8_000, 20_000, (len(BANDS), side, side))
    bands = np.where(mask, ground + np.array([0, 5_000, 30_000, 25_000])[:, None, None], ground)
    return bands.astype(np.uint16), mask


def locate_scene(seed: int) -> Any:
    """Return the transform of a scene; scenes are next to each other."""
    from rasterio import Affine

    return Affine(PIXEL, 0, ORIGIN[0] + seed * 2 * SIDE * PIXEL, 0, -PIXEL, ORIGIN[1])


def write_geotiff(path: Path, bands: np.ndarray, seed: int = 0, **options: Any) -> Path:
    """Write bands (bands x H x W) as a GeoTIFF with tiles of 16 px."""
    import rasterio

    path.parent.mkdir(parents=True, exist_ok=True)
    profile = {"crs": CRS, "transform": locate_scene(seed), "tiled": True, "blockxsize": 16, "blockysize": 16}
    count, height, width = bands.shape
    shape = {"count": count, "height": height, "width": width, "dtype": bands.dtype}
    names = options.pop("names", BANDS if count == len(BANDS) else ())
    with rasterio.open(path, "w", driver="GTiff", **{**profile, "compress": "deflate", **shape, **options}) as file:
        file.write(bands)
        for number, name in enumerate(names, 1):
            file.set_band_description(number, name)
    return path


def write_scenes(folder: Path, count: int = 2, **options: Any) -> Path:
    """Write scenes and masks, as images/area0.tif and so on; options are those of the images."""
    for seed in range(count):
        bands, mask = draw_scene(seed)
        write_geotiff(folder / f"images/area{seed}.tif", bands, seed, **options)
        write_geotiff(folder / f"masks/area{seed}.tif", mask[None], seed)
    return folder


def list_polygons(seed: int) -> list[Any]:
    """List the buildings of a scene as polygons in its CRS."""
    from shapely import box

    x, y = locate_scene(seed).c, ORIGIN[1]
    return [
        box(x + left * PIXEL, y - bottom * PIXEL, x + right * PIXEL, y - top * PIXEL)
        for top, left, bottom, right in draw_boxes(seed)
    ]


def write_geojson(path: Path, polygons: list[Any], crs: str | None = CRS, **properties: Any) -> Path:
    """Write polygons as GeoJSON, by default with the `crs` member of GDAL and the attribute kind: building."""
    from shapely.geometry import mapping

    properties = properties or {"kind": "building"}
    content: dict[str, Any] = {
        "type": "FeatureCollection",
        "features": [{"type": "Feature", "properties": properties, "geometry": mapping(one)} for one in polygons],
    }
    if crs is not None:
        name = crs.replace("EPSG:", "urn:ogc:def:crs:EPSG::")
        content["crs"] = {"type": "name", "properties": {"name": name}}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def write_vector_scenes(folder: Path, count: int = 2) -> Path:
    """Write scenes and one GeoJSON file with the buildings of all of them."""
    for seed in range(count):
        write_geotiff(folder / f"images/area{seed}.tif", draw_scene(seed)[0], seed)
    write_geojson(folder / "buildings.geojson", [one for seed in range(count) for one in list_polygons(seed)])
    return folder
