"""Tiles of scenes as image files in memory.

Like the slices of volumes, a tile is encoded as a TIFF, and the reference to a tile can be used wherever the path of a
file is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

from pipeline.imaging.errors import ImageError
from pipeline.imaging.windows import Window
from pipeline.scenes.geotiff import GeoTiff, Pixels, open_geotiff
from pipeline.volumes.slice_file import IntensityWindow, encode_slice
from pipeline.volumes.volume import Slice

MAX_TILES = 100_000  # of a scene
_REFERENCE = re.compile(r"(.+)\[x=([0-9]+),y=([0-9]+),([0-9]+)x([0-9]+),(bands|mask)=([0-9+]+)\]", re.DOTALL)
_UNSCALED = ("u1", "u2")  # types of values that need no window
_MIN_DIGITS = 2  # of the row and the column in a name
_RGB = 3


@dataclass(frozen=True)
class TileReference:
    """A tile of a scene. As text, it takes the place of a file's path, such as `a.tif[x=512,y=0,256x256,bands=1+2]`."""

    file: str
    left: int
    top: int
    width: int
    height: int
    bands: tuple[int, ...]
    is_mask: bool = False  # whether nodata pixels keep their values

    def __str__(self) -> str:
        """Format the reference."""
        bands = f"{'mask' if self.is_mask else 'bands'}={'+'.join(map(str, self.bands))}"
        return f"{self.file}[x={self.left},y={self.top},{self.width}x{self.height},{bands}]"

    @classmethod
    def parse(cls, text: str) -> TileReference | None:
        """Parse a reference. Return None for other texts, such as the path of a file."""
        found = _REFERENCE.fullmatch(text)
        if found is None:
            return None
        left, top, width, height = map(int, found.groups()[1:5])
        return cls(found[1], left, top, width, height, tuple(map(int, found[7].split("+"))), found[6] == "mask")

    @property
    def window(self) -> Window:
        """Rows and columns, which may extend beyond the scene."""
        return slice(self.top, self.top + self.height), slice(self.left, self.left + self.width)


@dataclass(frozen=True)
class GridTile:
    """A tile in the grid of a scene."""

    row: int  # in the grid, from 0
    column: int
    block: tuple[int, int]  # row and column of its block
    top: int  # px
    left: int


def list_tiles(height: int, width: int, tile: int, block: int, gap: int) -> Iterator[GridTile]:
    """List the tiles of a scene, block by block. The last tiles of a row or column may extend beyond the scene.

    Blocks have nearly the same number of tiles.

    Args:
        height: Height of the scene, px.
        width: Width of the scene, px.
        tile: Side of a tile, px.
        block: Maximum number of tiles along a side of a block.
        gap: Distance between blocks, px.

    Raises:
        ImageError: There are more than `MAX_TILES` tiles.
    """
    rows, columns = _count_tiles(height, tile, block, gap), _count_tiles(width, tile, block, gap)
    if rows * columns > MAX_TILES:
        raise ImageError(f"has {width:,} × {height:,} px, which are {rows * columns:,} tiles; at most {MAX_TILES:,} "
                         f"are supported, so increase data.scenes.tile")  # fmt: skip
    for block_row, block_rows in enumerate(_divide(rows, block)):
        for block_column, block_columns in enumerate(_divide(columns, block)):
            for row, column in product(block_rows, block_columns):
                top, left = row * tile + block_row * gap, column * tile + block_column * gap
                yield GridTile(row, column, (block_row, block_column), top, left)


def format_tile_name(scene: str, tile: GridTile, last: GridTile) -> str:
    """Format the name of a tile, with as many digits as `last`, the last tile of the scene, needs."""
    digits = max(_MIN_DIGITS, len(str(max(last.row, last.column))))
    return f"{scene}_r{tile.row:0{digits}}_c{tile.column:0{digits}}"


def read_pixels(folder: Path, tile: TileReference, declared: tuple[int, ...] = ()) -> Pixels:
    """Read the pixels of a tile of a file in a folder; for `declared`, see `GeoTiff.read`.

    Raises:
        ImageError: The tile cannot be read.
        OSError: The file cannot be read.
    """
    return open_geotiff(folder / tile.file).read(*tile.window, tile.bands, declared)


def read_tile(scene: GeoTiff, tile: TileReference, window: IntensityWindow | None = None) -> bytes:
    """Read a tile as the content of an image file. Invalid pixels are 0, except nodata pixels of masks.

    Args:
        scene: The scene.
        tile: The tile.
        window: Mapping of the values to gray values; None to keep them as they are.

    Raises:
        ImageError: The tile cannot be read.
    """
    declared = () if scene.nodata is None or not tile.is_mask else (scene.nodata,)
    return encode_pixels(apply_window(scene.read(*tile.window, tile.bands, declared), window), scene)


def apply_window(pixels: Pixels, window: IntensityWindow | None) -> Pixels:
    """Map values to gray values, and set invalid pixels to 0."""
    if window is None:
        return pixels
    values = window.apply(pixels.values)
    values[~pixels.is_valid] = 0
    return replace(pixels, values=values)


def encode_pixels(pixels: Pixels, scene: GeoTiff) -> bytes:
    """Encode pixels as an uncompressed TIFF that states the size of a pixel."""
    values = pixels.values
    return encode_slice(Slice(values, is_rgb=values.shape[-1] == _RGB and values.dtype == "u1"), scene.pixel)


def requires_window(scene: GeoTiff) -> bool:
    """Return whether the values of a scene are gray values only after a window was chosen."""
    return scene.dtype.str[1:] not in _UNSCALED


def _divide(count: int, largest: int) -> Iterator[range]:
    """Divide a number of tiles into as few blocks as possible, of nearly the same length."""
    num_blocks = -(-count // largest)
    for block in range(num_blocks):
        yield range(-(-block * count // num_blocks), -(-(block + 1) * count // num_blocks))


def _count_tiles(length: int, tile: int, block: int, gap: int) -> int:
    """Count the tiles that start inside a side of a scene."""
    full, rest = divmod(length, block * tile + gap)
    return full * block + min(block, -(-rest // tile))
