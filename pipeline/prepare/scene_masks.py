"""Masks of the tiles of scenes: tiles of mask files, or drawn polygons. Pixels without data are ignored.

Worker processes import this module, so it must not import parameters or other stages.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.imaging import IGNORE
from pipeline.imaging.mask_decoding import DecodedMask
from pipeline.prepare.image_mask_pair import ImageMaskPair, MaskReader
from pipeline.scenes.geotiff import open_geotiff
from pipeline.scenes.tile_file import TileReference, encode_pixels, read_pixels

_HEADER = struct.Struct("<II")  # height and width of a tile, px


def encode_mask(image: TileReference, labels: str) -> str:
    """Encode the mask of a tile as text, for `ImageMaskPair.mask`.

    Args:
        image: The tile of the image.
        labels: The tile of a mask file as a reference, or polygons from `encode_shapes`.
    """
    return json.dumps([str(image), labels])


def encode_shapes(
    tile: TileReference, shapes: Sequence[tuple[str, int]], background: int, area: Sequence[str] | None
) -> str:
    """Encode the polygons of a tile.

    Args:
        tile: The tile.
        shapes: Hexadecimal WKB of each polygon in px from the tile's upper left corner, and its class index or IGNORE.
            Later polygons are on top.
        background: Class index of other pixels.
        area: WKB of the polygons of the annotated area; None if all pixels were annotated.
    """
    return json.dumps([tile.height, tile.width, background, shapes, area])


def find_band_value(value: int | str) -> int | None:
    """Return the value that all bands have if a mask has a value, such as 255 for 255 and for #ffffff.

    Args:
        value: Number or color (#rrggbb) of a mask.

    Returns:
        The value; None for a color whose red, green and blue differ.
    """
    levels = {value} if isinstance(value, int) else set(bytes.fromhex(value[1:]))
    return levels.pop() if len(levels) == 1 else None


@dataclass(frozen=True)
class SceneMaskReader(MaskReader):
    """Reader of the masks of tiles, in which pixels without data are ignored."""

    labels: MaskReader  # decodes the labels of a tile
    # Values of the classes and of ignored pixels, which are data even if the file declares one of them as nodata. A
    # color whose red, green and blue are equal is this value, which the file's bands have in common.
    declared: tuple[int, ...] = ()
    # A declared value (number, or red, green, blue), which nodata pixels of a mask get before they are ignored.
    fill: tuple[int, ...] = (0,)

    @property
    def has_ignored_values(self) -> bool:
        """Whether values of the labels are ignored."""
        return self.labels.has_ignored_values

    def describe(self, pair: ImageMaskPair) -> str:
        """Return the tile of the mask file, or of the image for polygons."""
        image, labels = json.loads(pair.mask)
        return labels if TileReference.parse(labels) else f"polygons for {image}"

    def read(self, folder: Path, mask: str) -> bytes:
        """Read the valid pixels and the labels of a tile. Raise `ImageError` or `OSError` if that fails."""
        is_valid = self.read_validity(folder, mask)
        _, labels = json.loads(mask)
        content: bytes = labels.encode()
        if tile := TileReference.parse(labels):
            pixels = read_pixels(folder, tile, self.declared)
            fill = np.array(self.fill).astype(pixels.values.dtype)
            values = np.where(pixels.is_valid[..., None], pixels.values, fill)
            content = encode_pixels(replace(pixels, values=values), open_geotiff(folder / tile.file))
        return _HEADER.pack(*is_valid.shape) + np.packbits(is_valid).tobytes() + content

    def read_validity(self, folder: Path, mask: str) -> NDArray[np.bool_]:
        """Read which pixels of a tile have data in the image and in the mask file (H x W); errors as in `read`."""
        image, labels = json.loads(mask)
        tile, mask_tile = TileReference.parse(image), TileReference.parse(labels)
        assert tile is not None
        is_valid = read_pixels(folder, tile).is_valid
        if mask_tile is not None:
            is_valid &= read_pixels(folder, mask_tile, self.declared).is_valid
        return is_valid

    def _decode(self, content: bytes) -> DecodedMask:
        height, width = _HEADER.unpack_from(content)
        num_bytes = -(-height * width // 8)
        bits = np.frombuffer(content, np.uint8, num_bytes, _HEADER.size)
        is_valid = np.unpackbits(bits, count=height * width).reshape(height, width)
        classes = self.labels.decode(content[_HEADER.size + num_bytes :])
        return DecodedMask(np.where(is_valid, classes, np.uint8(IGNORE)))


@dataclass(frozen=True)
class ShapeMaskReader(MaskReader):
    """Reader of masks that are drawn from polygons. A pixel belongs to the polygon that contains its center."""

    def _decode(self, content: bytes) -> DecodedMask:
        height, width, background, shapes, area = json.loads(content)
        classes = _draw([(text, index) for text, index in shapes], (height, width), background)
        if area is not None:
            is_annotated = _draw([(text, 1) for text in area], (height, width), 0)
            classes[is_annotated == 0] = IGNORE
        return DecodedMask(classes)


def _draw(shapes: Sequence[tuple[str, int]], size: tuple[int, int], background: int) -> NDArray[np.uint8]:
    """Draw polygons with their values over a background, later ones on top."""
    from rasterio.features import rasterize
    from shapely import from_wkb

    if not shapes:
        return np.full(size, background, np.uint8)
    polygons: list[tuple[Any, int]] = [(from_wkb(text), value) for text, value in shapes]
    drawn: NDArray[np.uint8] = rasterize(polygons, size, fill=background, dtype="uint8")
    return drawn
