"""Turn scenes and their labels into pairs of tiles."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import Image

from pipeline.errors import PipelineError
from pipeline.imaging.errors import ImageError
from pipeline.params.data.image_data import Scenes
from pipeline.prepare.data_issues import DataIssue, IssueKind
from pipeline.prepare.image_mask_pair import ImageMaskPair, WrittenSplits
from pipeline.prepare.mask_sample import sample_evenly
from pipeline.prepare.read_file import describe_error
from pipeline.prepare.scene_masks import SceneMaskReader, encode_mask
from pipeline.scenes.geotiff import GeoTiff, open_geotiff
from pipeline.scenes.tile_file import TileReference, format_tile_name, list_tiles, read_pixels, requires_window
from pipeline.wording import pluralize

_MAX_MEASURED = 16  # tiles whose values are measured for a message


class SceneLabels(Protocol):
    """Labels of scenes."""

    def has_nodata(self, pair: ImageMaskPair) -> bool:
        """Return whether the labels of a scene may have pixels without data."""

    def find_issues(self, pair: ImageMaskPair, scene: GeoTiff) -> Iterator[DataIssue]:
        """Find why the labels of a scene cannot be used."""

    def locate(self, pair: ImageMaskPair, scene: GeoTiff, tile: TileReference) -> str | None:
        """Return the labels of a tile, see `encode_mask`; None if the tile is outside the annotated area."""


@dataclass(frozen=True)
class TiledScenes:
    """Tiles of all usable scenes."""

    splits: WrittenSplits  # with rows by the id of the tile
    pairs: dict[str, ImageMaskPair] = field(default_factory=dict)  # by the id of the tile
    issues: list[DataIssue] = field(default_factory=list)  # issues with scenes
    skipped: list[tuple[str, str]] = field(default_factory=list)  # (file, number of tiles without labeled pixels)
    notices: list[str] = field(default_factory=list)


class RasterLabels:
    """Labels in mask files with the same pixels as their scenes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def has_nodata(self, pair: ImageMaskPair) -> bool:
        """Return whether a mask declares pixels without data."""
        return open_geotiff(self._folder / pair.mask).has_nodata

    def find_issues(self, pair: ImageMaskPair, scene: GeoTiff) -> Iterator[DataIssue]:
        """Find why a mask cannot be used."""
        try:
            mask = open_geotiff(self._folder / pair.mask)
            if mismatch := scene.describe_mismatch(mask):
                yield DataIssue(IssueKind.GEOMETRY, pair.id, pair.mask, mismatch)
        except (OSError, ImageError) as error:
            yield DataIssue(IssueKind.UNREADABLE, pair.id, pair.mask, describe_error(error))

    def locate(self, pair: ImageMaskPair, scene: GeoTiff, tile: TileReference) -> str:  # noqa: ARG002
        """Return the tile of the mask."""
        bands = open_geotiff(self._folder / pair.mask).find_bands(None)
        return str(replace(tile, file=pair.mask, bands=bands, is_mask=True))


def tile_scenes(
    folder: Path,
    scenes: Mapping[str, ImageMaskPair],
    labels: SceneLabels,
    reader: SceneMaskReader,
    splits: WrittenSplits,
    settings: Scenes,
    channels: int | None,
    key: str,
) -> TiledScenes:
    """Turn scenes into pairs of tiles. The tiles of a block are one group; tiles without labeled pixels are left out.

    Args:
        folder: Folder of the source.
        scenes: Images and masks, by id.
        labels: Labels of the scenes.
        reader: Reader of the tiles' masks.
        splits: Splits of the scenes.
        settings: Bands and tiles.
        channels: Value of `data.channels`.
        key: Key of the section, for messages.

    Raises:
        PipelineError: A window is required, but missing, or a scene does not have the bands.
    """
    found = TiledScenes(splits)
    scene_of: dict[str, str] = {}  # by the id of the tile
    counts = Counter[str]()  # pixels of tiles that may have nodata, and nodata pixels
    for name, pair in scenes.items():
        report = partial(DataIssue, IssueKind.UNREADABLE, name, pair.image)
        try:
            scene = open_geotiff(folder / pair.image)
            bands = _find_bands(scene, pair, settings, channels, key)
            issues = list(labels.find_issues(pair, scene))
            found.issues.extend(issues)
            if issues:
                continue
            tiles = list(_list_tiles(pair, scene, bands, settings))
            if settings.window is None and requires_window(scene):
                raise PipelineError(f"{key}.scenes.window: {_describe_range(folder, scene, tiles)}")
            located = [
                replace(tile_pair, mask=encode_mask(tile, text))
                for tile_pair, tile in tiles
                if (text := labels.locate(pair, scene, tile)) is not None
            ]
            has_nodata = scene.has_nodata or labels.has_nodata(pair)
        except (OSError, ImageError) as error:
            found.issues.append(report(describe_error(error)))
            continue
        if has_nodata:
            sizes = {one.id: _count_pixels(tile, scene) for one, tile in tiles}
            located = _drop_invalid(folder, located, sizes, reader, counts)
        found.pairs.update({one.id: one for one in located})
        scene_of |= dict.fromkeys((one.id for one in located), name)
        if not located:
            found.issues.append(report("has no labeled pixels: all are nodata or outside data.area"))
        elif num_empty := len(tiles) - len(located):
            found.skipped.append((pair.image, f"{num_empty:,} of {len(tiles):,} tiles have no labeled pixels"))
    if counts["nodata"]:
        found.notices.append(
            f"{counts['nodata']:,} of {counts['pixels']:,} pixels ({counts['nodata'] / counts['pixels']:.1%}) are "
            f"nodata in the image or the mask. They are ignored in training and scores."
        )
    return replace(found, splits=splits.assign_parts(scene_of))


def _count_pixels(tile: TileReference, scene: GeoTiff) -> int:
    """Count the pixels of a tile that are inside its scene."""
    return min(tile.height, scene.height - tile.top) * min(tile.width, scene.width - tile.left)


def _drop_invalid(
    folder: Path,
    pairs: Sequence[ImageMaskPair],
    sizes: Mapping[str, int],
    reader: SceneMaskReader,
    counts: Counter[str],
) -> list[ImageMaskPair]:
    """Leave out tiles without valid pixels, and add to the `counts` of pixels and nodata pixels.

    Args:
        folder: Folder of the source.
        pairs: Tiles of a scene.
        sizes: Number of pixels inside the scene by the id of the tile.
        reader: Reader of the tiles' masks.
        counts: Numbers of `pixels` and `nodata` pixels of all tiles so far.
    """
    kept = []
    for pair in pairs:
        num_valid = _count_valid(folder, pair, reader, sizes[pair.id])
        counts["pixels"] += sizes[pair.id]
        counts["nodata"] += sizes[pair.id] - num_valid
        if num_valid:
            kept.append(pair)
    return kept


def _count_valid(folder: Path, pair: ImageMaskPair, reader: SceneMaskReader, num_pixels: int) -> int:
    """Count the valid pixels of a tile. If it cannot be read, return all, because decoding it reports the reason."""
    try:
        return int(np.count_nonzero(reader.read_validity(folder, pair.mask)))
    except (ImageError, OSError):
        return num_pixels


def _find_bands(
    scene: GeoTiff, pair: ImageMaskPair, settings: Scenes, channels: int | None, key: str
) -> tuple[int, ...]:
    try:
        bands = scene.find_bands(settings.bands)
    except ImageError as error:
        raise PipelineError(f"{key}.scenes.bands: {pair.image} {error}.") from None
    if channels is not None and len(bands) != channels:
        raise PipelineError(
            f"{key}.channels: is {channels}, but {pair.image} has {pluralize(len(bands), 'band')}. Write the number of "
            f"bands, or select bands with {key}.scenes.bands."
        )
    return bands


def _list_tiles(
    pair: ImageMaskPair, scene: GeoTiff, bands: tuple[int, ...], settings: Scenes
) -> Iterator[tuple[ImageMaskPair, TileReference]]:
    """List the tiles of a scene, with pairs that have no mask yet. Raise `ImageError` if there are too many."""
    if settings.tile is None:
        if scene.width * scene.height * len(bands) > (limit := 2 * (Image.MAX_IMAGE_PIXELS or 0)):
            raise ImageError(
                f"has {scene.width:,} × {scene.height:,} px in {pluralize(len(bands), 'band')}; the limit of one image "
                f"is {limit:,} values, so set data.scenes.tile"
            )
        tile = TileReference(pair.image, 0, 0, scene.width, scene.height, bands)
        yield replace(pair, image=str(tile)), tile
        return
    grid = list(list_tiles(scene.height, scene.width, settings.tile, settings.block, settings.gap))
    for one in grid:
        tile = TileReference(pair.image, one.left, one.top, settings.tile, settings.tile, bands)
        name = format_tile_name(pair.id, one, grid[-1])
        row, column = one.block
        yield ImageMaskPair(name, str(tile), "", pair.name, volume=f"{pair.id}_block_{row}_{column}"), tile


def _describe_range(folder: Path, scene: GeoTiff, tiles: list[tuple[ImageMaskPair, TileReference]]) -> str:
    """Describe the values of a scene that requires a window."""
    low, high = np.inf, -np.inf
    for _, tile in sample_evenly(tiles, _MAX_MEASURED):
        pixels = read_pixels(folder, tile)
        values = pixels.values[pixels.is_valid]
        if values.size:
            low, high = min(low, values.min().item()), max(high, values.max().item())
    measured = f"from {low:g} to {high:g} in the tiles that were read" if low <= high else "without any data"
    return (
        f"is missing, but the values of {tiles[0][1].file} are {scene.dtype}, {measured}. Write window: [low, high], "
        f"the values that become black and white, such as [0, 0.4] for reflectance."
    )
