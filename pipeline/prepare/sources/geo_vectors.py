"""Source: scenes with polygons in GeoJSON files, GeoPackages or shapefiles."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.artifacts.prepared_data import SegmentationClass
from pipeline.errors import PipelineError
from pipeline.imaging import IGNORE
from pipeline.params.data.file_pattern import FilePattern
from pipeline.params.data.image_data import GeoVectorsData
from pipeline.prepare.data_folder import open_data_folder
from pipeline.prepare.data_issues import DataIssue, IssueKind
from pipeline.prepare.image_mask_pair import ImageMaskPair, PairCollection
from pipeline.prepare.scene_masks import SceneMaskReader, ShapeMaskReader, encode_shapes
from pipeline.prepare.sources.annotated import map_categories
from pipeline.prepare.sources.image_files import ImageFiles
from pipeline.prepare.sources.scene_tiles import tile_scenes
from pipeline.prepare.splitting.read_splits import read_splits
from pipeline.prepare.splitting.split_lists import apply_split_lists
from pipeline.prepare.vector_layer import (
    VECTOR_ENDINGS,
    VectorLayer,
    describe_bounds,
    number_categories,
    read_layer,
)
from pipeline.scenes.geotiff import SCENE_ENDINGS, GeoTiff, apply_transform, open_geotiff
from pipeline.scenes.tile_file import TileReference
from pipeline.volumes.slice_file import create_window
from pipeline.wording import join_names, pluralize

_NAMED = 5  # scenes in a message


class VectorLabels:
    """Labels that are drawn from polygons.

    Args:
        layers: Polygons by the id of the scene.
        index_of: Class index, or IGNORE, of each declared category.
        background: Class index of pixels without a polygon.
        area: Polygons of the annotated area; None if all pixels were annotated.
        is_shared: Whether all scenes have the same layer. Otherwise, a layer that does not overlap its scene is an
            issue, unless it is empty.
    """

    def __init__(
        self,
        layers: Mapping[str, VectorLayer],
        index_of: Mapping[str, int],
        background: int,
        area: VectorLayer | None,
        *,
        is_shared: bool,
    ) -> None:
        self._layers, self._index_of, self._background, self._area = layers, index_of, background, area
        self._is_shared = is_shared
        self._current: tuple[str, _PixelShapes, _PixelShapes | None] | None = None  # of the last scene
        self.outside: list[str] = []  # scenes that no polygon overlaps

    def has_nodata(self, pair: ImageMaskPair) -> bool:  # noqa: ARG002
        """Return false, because pixels outside the annotated area are ignored, but not nodata."""
        return False

    def find_issues(self, pair: ImageMaskPair, scene: GeoTiff) -> Iterator[DataIssue]:
        """Find why the polygons of a scene cannot be drawn."""
        if scene.crs is None:
            detail = "has no CRS, so polygons cannot be located; assign it, such as with gdal_edit -a_srs EPSG:32632"
            yield DataIssue(IssueKind.UNREADABLE, pair.id, pair.image, detail)
            return
        shapes, _ = self._project(pair, scene)
        layer = self._layers[pair.id]
        undeclared = Counter(
            layer.categories[place] for place in shapes.inside if layer.categories[place] not in self._index_of
        )
        if undeclared:
            detail = ", ".join(sorted(undeclared))
            yield DataIssue(IssueKind.CATEGORIES, pair.id, pair.image, detail, dict(undeclared))
        if not len(shapes.inside):
            self.outside.append(pair.image)
            if len(layer.shapes) and not self._is_shared:
                detail = f"{layer.file.name} has polygons only at {describe_bounds(layer, scene.crs)}"
                yield DataIssue(IssueKind.OUTSIDE, pair.id, pair.image, detail)

    def locate(self, pair: ImageMaskPair, scene: GeoTiff, tile: TileReference) -> str | None:
        """Return the polygons of a tile; None if it is outside the annotated area."""
        shapes, area = self._project(pair, scene)
        annotated = None if area is None else [text for text, _ in area.clip(tile)]
        if annotated == []:
            return None
        categories = self._layers[pair.id].categories
        drawn = [(text, self._index_of[categories[place]]) for text, place in shapes.clip(tile)]
        return encode_shapes(tile, drawn, self._background, annotated)

    def _project(self, pair: ImageMaskPair, scene: GeoTiff) -> tuple[_PixelShapes, _PixelShapes | None]:
        """Transform the polygons to the pixels of a scene."""
        if self._current is None or self._current[0] != pair.id:
            area = None if self._area is None else _PixelShapes(self._area, scene)
            self._current = pair.id, _PixelShapes(self._layers[pair.id], scene), area
        return self._current[1:]


class _PixelShapes:
    """Polygons in px of a scene, from its upper left corner; the larger ones come first."""

    def __init__(self, layer: VectorLayer, scene: GeoTiff) -> None:
        import shapely

        to_pixels = partial(apply_transform, ~scene.transform)
        self._shapes: NDArray[Any] = shapely.transform(layer.project(scene.crs), to_pixels)
        self._tree = shapely.STRtree(self._shapes)
        self._order = np.argsort(np.argsort(-shapely.area(self._shapes), kind="stable"))  # small ones are on top
        self.inside = self._find(0, 0, scene.width, scene.height)

    def clip(self, tile: TileReference) -> list[tuple[str, int]]:
        """Clip the polygons to a tile: hexadecimal WKB in px from its upper left corner, and the index."""
        import shapely

        box = (tile.left, tile.top, tile.left + tile.width, tile.top + tile.height)
        found = []
        for place in self._find(*box):
            part = shapely.clip_by_rect(self._shapes[place], *box)
            if part.area:
                moved = shapely.transform(part, lambda points: points - (tile.left, tile.top))
                found.append((shapely.to_wkb(moved, hex=True), int(place)))
        return found

    def _find(self, left: float, top: float, right: float, bottom: float) -> NDArray[np.int64]:
        import shapely

        found: NDArray[np.int64] = self._tree.query(shapely.box(left, top, right, bottom), predicate="intersects")
        return found[np.argsort(self._order[found])]


def collect_geo_vectors(data: GeoVectorsData, classes: Sequence[SegmentationClass]) -> PairCollection:
    """Collect the tiles of a folder of scenes with polygons.

    Raises:
        PipelineError: The folder or the polygons are missing or invalid, a class has an unknown category, or no polygon
            overlaps a scene.
    """
    folder = open_data_folder(Path(data.path), "data.path")
    files = ImageFiles(folder, "data.images", FilePattern(data.images), SCENE_ENDINGS)
    all_ids = set(files.by_id)
    listed = apply_split_lists(folder, data.splits.split_lists, "data", data.splits.folds, files)
    layers, issues = _read_layers(folder, data, files, all_ids)
    usable = (files.by_id.keys() & layers.keys()) - files.unusable
    splits = listed or read_splits(folder, data.splits.split_file, files.by_id, files.names, all_ids, usable, "data")
    numbers = number_categories(layers)
    index_of = {numbers[number]: index for number, index in map_categories(data, numbers).items()}
    background = next((index for index, item in enumerate(data.classes) if not item.categories), IGNORE)
    area = None if data.area is None else read_layer(folder / data.area, None, "data.area")
    is_shared = not FilePattern(data.annotations).num_texts
    labels = VectorLabels(layers, index_of, background, area, is_shared=is_shared)
    reader = SceneMaskReader(ShapeMaskReader())
    scenes = {name: ImageMaskPair(name, files.by_id[name], "", files.names[name]) for name in sorted(usable)}
    tiled = tile_scenes(folder, scenes, labels, reader, splits, data.scenes, data.channels, "data")
    if scenes and len(labels.outside) == len(scenes):
        raise PipelineError(_describe_all_outside(folder, data, layers, scenes))
    return PairCollection(
        folder=folder,
        title=f"The images in {Path(data.path).resolve().name}",
        credit="",  # known to the user
        classes=classes,
        pairs=tiled.pairs,
        masks=reader,
        issues=[*issues, *files.issues, *tiled.issues],
        images=files.by_id,
        skipped=[*files.skipped, *tiled.skipped],
        notices=(*splits.notices, *tiled.notices, *(_describe_outside(labels.outside, data) if is_shared else ())),
        window=create_window(data.scenes),
        splits=tiled.splits,
    )


def _read_layers(
    folder: Path, data: GeoVectorsData, files: ImageFiles, ids: set[str]
) -> tuple[dict[str, VectorLayer], list[DataIssue]]:
    """Read one file for all scenes, or if the pattern has wildcards, one file per scene."""
    if not FilePattern(data.annotations).num_texts:
        layer = read_layer(folder / data.annotations, data.attribute, "data.annotations")
        if not len(layer.shapes):
            raise PipelineError(f"data.annotations: {layer.file} has no polygons. Export the layer again.")
        return dict.fromkeys(files.by_id, layer), []
    try:
        pattern = FilePattern.parse(data.annotations)
    except ValueError as error:
        raise PipelineError(f"data.annotations: {error}.") from None
    vectors = ImageFiles(folder, "data.annotations", pattern, VECTOR_ENDINGS)
    layers, issues = {}, list(vectors.issues)
    for name, file in vectors.by_id.items():
        if name not in files.by_id:
            if name not in ids:
                issues.append(DataIssue(IssueKind.NO_FILE, name, file))
            continue
        try:
            layers[name] = read_layer(folder / file, data.attribute, "data.annotations")
        except PipelineError as error:
            if not (folder / file).is_file():
                raise
            issues.append(DataIssue(IssueKind.UNREADABLE, name, file, str(error)))
    issues += [
        DataIssue(IssueKind.NO_TRUTH, name, file) for name, file in files.by_id.items() if name not in vectors.by_id
    ]
    return layers, issues


def _describe_outside(outside: Sequence[str], data: GeoVectorsData) -> Iterator[str]:
    """Name the scenes that no polygon of the layer overlaps."""
    if outside:
        scenes = pluralize(len(outside), "scene")
        yield (
            f"No polygon of {data.annotations} overlaps {scenes}: {join_names(outside, _NAMED)}. If they have objects, "
            f"check whether these were annotated, and the CRS of the scenes and of the polygons."
        )


def _describe_all_outside(
    folder: Path, data: GeoVectorsData, layers: Mapping[str, VectorLayer], scenes: Mapping[str, ImageMaskPair]
) -> str:
    """Describe that no polygon overlaps a scene, with the bounds of the first scene with polygons, and of these."""
    name = max(scenes, key=lambda name: len(layers[name].shapes) > 0)
    image = scenes[name].image
    scene = open_geotiff(folder / image)
    corners = np.array([(0, scene.height), (scene.width, 0)], float)
    (left, bottom), (right, top) = apply_transform(scene.transform, corners)
    return (
        f"data.annotations: no polygon of {data.annotations} overlaps a scene. {image} covers {left:.6g}, "
        f"{bottom:.6g} to {right:.6g}, {top:.6g}, but the polygons are at {describe_bounds(layers[name], scene.crs)}. "
        f"Check the CRS of both."
    )
