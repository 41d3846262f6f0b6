"""Recognize GeoTIFFs with masks or polygons, and suggest `data.scenes` for them."""

from __future__ import annotations

import contextlib
import importlib.util
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import compress
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import PipelineError
from pipeline.imaging.errors import ImageError
from pipeline.init.layouts.layout import Layout
from pipeline.init.suggestion import SuggestedClasses
from pipeline.init.volumes import choose_limits
from pipeline.params.data.fields import list_values
from pipeline.predict.tiff_mask import Calibration
from pipeline.prepare.mask_sample import sample_evenly
from pipeline.prepare.scene_masks import find_band_value
from pipeline.prepare.sources.folder import match_files
from pipeline.prepare.sources.image_files import list_files
from pipeline.prepare.vector_layer import UNDEFINED, list_attributes, read_layer
from pipeline.scenes.geotiff import SCENE_ENDINGS, GeoTiff, open_geotiff
from pipeline.scenes.tile_file import TileReference, list_tiles, read_pixels, requires_window
from pipeline.volumes.slice_file import IntensityWindow
from pipeline.wording import join_names, pluralize

_TILES, _BLOCKS = (256, 128, 64, 32), (4, 3, 2, 1)  # px, and tiles, that are proposed
_MIN_TILES, _MIN_BLOCKS = 40, 12  # in total, if the scenes are large enough
_MAX_CHIP, _MIN_CHIPS = 1024, 20  # longest side in px, and number, of files that are not cut
_MAX_TRIED = 10  # files that are opened to find a georeference
_MAX_MEASURED, _MAX_VALUES = 60, 20_000  # tiles whose values are measured, and values of each
_DARK = 1 / 8  # of the range of 16 bits; if all values are below it, they were not scaled to it
_VECTOR_ENDINGS = (".geojson", ".gpkg", ".shp")  # .json is that of other annotations, too
_AREA_NAME = re.compile(r"aoi|area|roi|extent|boundary", re.IGNORECASE)
_CATEGORY_NAMES = ("class", "category", "label", "type", "kind", "class_name", "landcover", "land_cover", "code")
_MAX_CATEGORIES = 20  # of an attribute without a usual name


WITHOUT_RASTERIO = (
    "The images have a georeference, but are read like other TIFFs, because rasterio is missing. To select bands, to "
    "ignore nodata pixels and to cut scenes into tiles, run pip install 'unet-learning-report[geo]', then this command."
)
NO_SCENES = (
    "The images have a georeference, but are read like other TIFFs, so that nodata pixels are not ignored: data.scenes "
    "requires files with one image each, and one TIFF per image as its mask."
)


@dataclass(frozen=True)
class SuggestedScenes:
    """A suggested `data.scenes`, and the tiles of all scenes that can be opened."""

    section: dict[str, Any]  # value of `data.scenes`
    images: dict[str, str]  # names of the scenes by the tile of the image
    masks: list[str]  # tiles of the masks; empty for polygons
    channels: int
    nodata: float | None  # of the masks
    window: IntensityWindow | None
    found: str  # short description of the scenes
    notices: tuple[str, ...]


def suggest_scenes(folder: Path, layout: Layout) -> SuggestedScenes | None:
    """Suggest `data.scenes` for a layout of images and masks.

    Return None if its images have no georeference, or if none can be read, such as TIFFs with several pages.

    Raises:
        PipelineError: The scenes cannot be read, or rasterio is missing.
    """
    try:
        images, masks = match_files(folder, layout.images, layout.masks, "data", SCENE_ENDINGS)
    except PipelineError:
        return None
    ids = sorted(images.by_id.keys() & masks.by_id.keys())
    files = [images.by_id[name] for name in ids]
    if masks.parts or not are_scenes(folder, files) or not any(map(_can_open, (folder / file for file in files))):
        return None
    names = {images.by_id[name]: images.names[name] for name in ids}
    return _suggest(folder, names, {images.by_id[name]: masks.by_id[name] for name in ids})


def _can_open(path: Path) -> bool:
    try:
        open_geotiff(path)
    except (ImageError, OSError):
        return False
    return True


def is_rasterio_installed() -> bool:
    """Return whether scenes can be read."""
    return importlib.util.find_spec("rasterio") is not None


def are_scenes(folder: Path, files: Sequence[str]) -> bool:
    """Return whether the first files have a georeference. It does not require rasterio."""
    paths = filter(Path.is_file, (folder / file for file in files[:_MAX_TRIED]))  # no pipes and broken links
    return any(Calibration.read(path).georeference for path in paths)


def drop_nodata(classes: SuggestedClasses, nodata: float | None) -> SuggestedClasses:
    """Remove the class of a mask value that the masks declare as nodata, unless it is the background.

    It also stays if only one class would remain.
    """
    listed = classes.section.get("classes", [])
    is_kept = [list(map(find_band_value, list_values(item.get("mask_value")))) != [nodata] for item in listed]
    if nodata is None or all(is_kept):
        return classes
    item = listed[is_kept.index(False)]
    is_background = not item["foreground"] and not item.get("is_boundary", False)
    kept = list(compress(listed, is_kept))
    if len(kept) < 2 or is_background:
        notice = f"The masks declare {nodata:g} as nodata, but its pixels are taken for the class {item['name']}."
        return replace(classes, notices=(*classes.notices, notice))
    notice = (
        f"The masks declare {nodata:g} as nodata, so its pixels are ignored, and the class {item['name']} is left out."
    )
    section, remarks = {**classes.section, "classes": kept}, tuple(compress(classes.class_remarks, is_kept))
    return replace(classes, section=section, class_remarks=remarks, notices=(*classes.notices, notice))


@dataclass(frozen=True)
class VectorLayout:
    """Scenes and files with polygons."""

    images: str  # value of `data.images`
    annotations: str  # value of `data.annotations`
    attribute: str | None
    area: str | None
    categories: tuple[str, ...]
    scenes: SuggestedScenes
    notices: tuple[str, ...]


def find_vectors(folder: Path) -> VectorLayout | None:
    """Recognize GeoTIFFs with polygons in GeoJSON files, GeoPackages or shapefiles. Return None for other folders.

    Raises:
        PipelineError: The files cannot be read, or there are several files with polygons.
    """
    files = list_files(folder, "", "pipeline init")
    vectors = [file for file in files if file.suffix.lower() in _VECTOR_ENDINGS]
    scenes = [file for file in files if file.suffix.lower() in SCENE_ENDINGS]
    if not vectors or not scenes or not are_scenes(folder, [str(scene) for scene in scenes]):
        return None
    stems = {file.stem for file in scenes}
    areas = [file for file in vectors if _AREA_NAME.search(file.stem) and file.stem not in stems]
    areas = areas if len(vectors) > 1 else []
    labels = [file for file in vectors if file not in areas]
    parent = _find_parent(scenes)
    images = "images/**/*" if parent == "images" else f"{parent}/*" if parent else "*"
    if len(labels) == 1:
        annotations = str(labels[0])
    elif {file.stem for file in labels} <= stems and len({file.suffix.lower() for file in labels}) == 1:
        where = _find_parent(labels)
        images, annotations = images.replace("**/", ""), f"{f'{where}/' if where else ''}*{labels[0].suffix}"
    else:
        raise PipelineError(
            f"pipeline init: {folder} has several files with polygons: {join_names(labels)}. Keep one, or one per "
            f"scene with the name of the scene; or write the data section by hand, see docs/how-to/remote-sensing.md."
        )
    attribute, categories = _find_attribute([folder / file for file in labels[:_MAX_TRIED]])
    if not categories:
        raise PipelineError(f"pipeline init: {folder / labels[0]} has no polygons. Export the layer again.")
    names = {str(scene): scene.stem for scene in scenes}
    notices = []
    if attribute is None:
        notices.append(
            "data.attribute: null is proposed, so that all polygons have one class, because no attribute looks like a "
            "category. Write the attribute that has the category."
        )
    else:
        notices.append(f"data.attribute: {attribute} is proposed, whose values are {join_names(categories)}.")
    if areas:
        notices.append(f"data.area: {areas[0]} is proposed because of its name; pixels outside are ignored.")
    else:
        notices.append("Pixels without a polygon are taken for background. If only part was annotated, set data.area.")
    suggested = _suggest(folder, names, {})
    return VectorLayout(
        images, annotations, attribute, str(areas[0]) if areas else None, categories, suggested, tuple(notices)
    )


def _find_parent(files: Sequence[PurePosixPath]) -> str:
    """Find the innermost folder with all files, or with most of them if they are in several."""
    parents = [str(file.parent) for file in files]
    common = max(set(parents), key=lambda parent: (parents.count(parent), parent))
    return "" if common == "." else common


def _find_attribute(files: Sequence[Path]) -> tuple[str | None, tuple[str, ...]]:
    """Find the attribute with the category, and its values: one with a usual name, or the first with few texts."""
    known = list_attributes(files[0], "pipeline init")
    usual = [name for name in known if name.lower() in _CATEGORY_NAMES]
    usual.sort(key=lambda name: _CATEGORY_NAMES.index(name.lower()))
    for name in (*usual, *(name for name in known if name not in usual)):
        values = sorted({one for file in files for one in read_layer(file, name, "pipeline init").categories})
        is_text = any(not re.fullmatch(r"-?[0-9.]*", value) for value in values)
        if values and (name in usual or is_text) and len(values) <= _MAX_CATEGORIES and values != [UNDEFINED]:
            return name, tuple(values)
    return None, tuple({one for file in files for one in read_layer(file, None, "pipeline init").categories})


def _suggest(folder: Path, names: Mapping[str, str], masks: Mapping[str, str]) -> SuggestedScenes:
    """Suggest `data.scenes` for scenes, given by name, and their masks, both by file."""
    opened: dict[str, GeoTiff] = {}
    reason, nodata = "", None
    for file in names:
        try:
            opened[file] = open_geotiff(folder / file)
        except (ImageError, OSError) as error:
            reason = f"{file} {error}"
    if not opened:
        raise PipelineError(f"pipeline init: none of the scenes in {folder} can be read (for example, {reason}).")
    first = next(iter(opened.values()))
    bands, notices = first.find_bands(None), []
    labels = first.name_bands(bands)
    shapes = [(scene.height, scene.width) for scene in opened.values()]
    tile, block, gap = _choose_grid(shapes)
    found_images: dict[str, str] = {}
    found_masks: list[str] = []
    for file, scene in opened.items():
        mask_bands: tuple[int, ...] = ()
        if file in masks:
            with contextlib.suppress(ImageError, OSError):  # `pipeline data check` reports it
                mask = open_geotiff(folder / masks[file])
                mask_bands, nodata = mask.find_bands(None), mask.nodata if nodata is None else nodata
        with contextlib.suppress(ImageError):
            for reference in _list_tiles(file, scene, scene.find_bands(labels), tile, block, gap):
                found_images[str(reference)] = names[file]
                if mask_bands:  # without pixels beyond the scene, which would count as those of value 0
                    width = min(reference.width, scene.width - reference.left)
                    height = min(reference.height, scene.height - reference.top)
                    mask_tile = TileReference(
                        masks[file], reference.left, reference.top, width, height, mask_bands, is_mask=True
                    )
                    found_masks.append(str(mask_tile))
    limits, window_notices = _suggest_window(folder, list(found_images), first)
    notices += window_notices
    section = {
        "bands": list(labels), "tile": tile, "block": block, "gap": gap, "window": list(limits) if limits else None,
    }  # fmt: skip
    if tile is not None:
        notices.append(
            f"data.scenes: tiles of {tile} px are proposed. Blocks of up to {block} × {block} tiles stay in one split, "
            f"and {gap} px between blocks are left out. Choose blocks that are larger than the objects and fields "
            f"in the scenes; see docs/how-to/remote-sensing.md."
        )
    return SuggestedScenes(
        section=section,
        images=found_images,
        masks=found_masks,
        channels=len(bands),
        nodata=nodata,
        window=IntensityWindow(*limits) if limits else None,
        found=f"{pluralize(len(opened), 'GeoTIFF')} with {pluralize(len(bands), 'band')}, ",
        notices=tuple(notices),
    )


def _choose_grid(shapes: Sequence[tuple[int, int]]) -> tuple[int | None, int, int]:
    """Choose the side of tiles in px, the side of blocks in tiles, and the gap in px; no tiles for many small files."""
    if len(shapes) >= _MIN_CHIPS and max(map(max, shapes)) <= _MAX_CHIP:
        return None, 1, 0

    def count(tile: int, block: int = 1) -> int:
        return sum((-(-height // (tile * block))) * (-(-width // (tile * block))) for height, width in shapes)

    tile = next((side for side in _TILES if count(side) >= _MIN_TILES), _TILES[-1])
    block = next((side for side in _BLOCKS if count(tile, side) >= _MIN_BLOCKS), 1)
    return tile, block, tile // 4


def _list_tiles(
    file: str, scene: GeoTiff, bands: tuple[int, ...], tile: int | None, block: int, gap: int
) -> Iterator[TileReference]:
    if tile is None:
        yield TileReference(file, 0, 0, scene.width, scene.height, bands)
        return
    for one in list_tiles(scene.height, scene.width, tile, block, gap):
        yield TileReference(file, one.left, one.top, tile, tile, bands)


def _suggest_window(folder: Path, tiles: Sequence[str], scene: GeoTiff) -> tuple[tuple[float, float] | None, list[str]]:
    """Suggest the limits of the window if one is required, or if values of 16 bits use a small part of the range."""
    is_required = requires_window(scene)
    if not is_required and scene.dtype.itemsize == 1:
        return None, []
    samples = list(_read_values(folder, sample_evenly(tiles, _MAX_MEASURED)))
    if not samples:
        return None, []
    values = np.concatenate(samples)
    if not is_required and values.max() > _DARK * np.iinfo(scene.dtype).max:
        return None, []
    low, high = choose_limits(values)
    notice = (
        f"data.scenes.window: [{low}, {high}] is proposed: all but 1% of the values, which are {scene.dtype} from "
        f"{values.min():g} to {values.max():g} in the tiles that were opened. The limits become black and white."
    )
    return (low, high), [notice]


def _read_values(folder: Path, tiles: Sequence[str]) -> Iterator[NDArray[np.float64]]:
    """Yield valid values of tiles."""
    for text in tiles:
        reference = TileReference.parse(text)
        assert reference is not None
        with contextlib.suppress(ImageError, OSError):  # `pipeline data check` reports it
            pixels = read_pixels(folder, reference)
            values = pixels.values[pixels.is_valid].ravel()
            if values.size:
                yield values[:: max(1, values.size // _MAX_VALUES)].astype(np.float64)
