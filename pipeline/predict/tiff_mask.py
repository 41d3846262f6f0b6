"""Write masks of any size as tiled TIFFs, with the georeference and the pixel size of their images."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.atomic_io import atomic_file, remove_leftovers
from pipeline.imaging.errors import ImageError
from pipeline.imaging.pixel_size import UNITS_PER_CENTIMETER, PixelSize
from pipeline.imaging.tiff import open_pages
from pipeline.imaging.tiff_resolution import (
    CENTIMETER,
    DESCRIPTION,
    INCH,
    NO_UNIT,
    ORIENTATION,
    RESOLUTION_UNIT,
    read_imagej_unit,
    read_ome_pixels,
    read_resolution,
)

TILE = 256  # px, side of a tile
BIG_BYTES = 4e9  # a mask with more uncompressed bytes is written as a BigTIFF

# GeoTIFF 1.1 (OGC 19-008r4): pixel scale, tie points, transformation, and the key directory with its two value tags.
_GEOREFERENCE = (33550, 33922, 34264, 34735, 34736, 34737)
_GDAL_NODATA, _ASCII = 42113, 2  # tag, and its type


@dataclass(frozen=True)
class Calibration:
    """Georeference and pixel size of a TIFF: its GeoTIFF tags, its resolution, and the pixel size in OME-XML.

    Invalid values are left out.
    """

    georeference: tuple[tuple[int, int, int, Any], ...] = ()  # tags: code, type, count, value
    resolution: tuple[float, float] | None = None  # pixels per unit, in x and y
    resolution_unit: int = NO_UNIT  # NO_UNIT, INCH or CENTIMETER
    ome: dict[str, Any] | None = None  # OME metadata for tifffile; None if the TIFF has no OME-XML

    @classmethod
    def read(cls, path: Path) -> Calibration:
        """Read the calibration of a file; it is empty if the file is not a TIFF, or is stored rotated or mirrored."""
        try:
            with path.open("rb") as file, open_pages(file) as (pages, _):
                return cls.from_tags(pages[0].tags)
        except (ImageError, IndexError):
            return cls()

    @classmethod
    def from_tags(cls, found: Any) -> Calibration:
        """Read the calibration from the tags of a TIFF's first page."""
        if found.valueof(ORIENTATION) not in (None, 1):
            return cls()
        known = (found.get(code) for code in _GEOREFERENCE)
        description = str(found.valueof(DESCRIPTION, ""))
        resolution, unit = _read_resolution(found, description)
        return cls(
            georeference=tuple(
                (tag.code, int(tag.dtype), tag.count, tag.value)
                for tag in known
                if tag and not (isinstance(tag.value, str) and not tag.value.isascii())
            ),
            resolution=resolution,
            resolution_unit=unit,
            ome=_read_ome(description),
        )

    def replace_pixel_size(self, pixel: PixelSize) -> Calibration:
        """Return a calibration with another pixel size. A unit that TIFF cannot express leaves the aspect ratio."""
        per_centimeter = UNITS_PER_CENTIMETER.get(pixel.unit)
        sizes = {
            "PhysicalSizeX": pixel.width, "PhysicalSizeXUnit": pixel.unit,
            "PhysicalSizeY": pixel.height, "PhysicalSizeYUnit": pixel.unit,
        }  # fmt: skip
        return replace(
            self,
            resolution=((per_centimeter or 1) / pixel.width, (per_centimeter or 1) / pixel.height),
            resolution_unit=NO_UNIT if per_centimeter is None else CENTIMETER,
            ome=None if self.ome is None else {**self.ome, **sizes},
        )


def write_tiff_mask(
    path: Path,
    strips: Iterable[NDArray[Any]],
    shape: tuple[int, ...],
    palette: NDArray[np.uint8] | None,
    source: Path,
    dtype: type[np.integer[Any]] = np.uint16,
    *,
    pixel: PixelSize | None = None,
    nodata: int | None = None,
) -> None:
    """Write a mask in strips, so that the whole mask is never in memory.

    Args:
        path: The file to write.
        strips: Mask values in strips from top to bottom, each rows x W or rows x W x 3.
        shape: Shape of the whole mask, H x W or H x W x 3.
        palette: Colors of the values, 256 x 3; None if values exceed 255 or are colors.
        source: The image whose georeference, resolution, pixel size and channel names are copied to the mask.
        dtype: Type of the values if they are neither colors nor have a palette.
        pixel: Size of a pixel, which replaces that of the image; None to keep it.
        nodata: Value of pixels without data; None if all have data.
    """
    import tifffile

    remove_leftovers(path)
    calibration = Calibration.read(source)
    if pixel is not None:
        calibration = calibration.replace_pixel_size(pixel)
    has_colors = len(shape) == 3
    stored = np.dtype(np.uint8 if has_colors or palette is not None else dtype)
    with (
        atomic_file(path) as file,
        tifffile.TiffWriter(
            file,
            bigtiff=int(np.prod(shape, dtype=np.int64)) * stored.itemsize > BIG_BYTES,
            ome=calibration.ome is not None,
        ) as writer,
    ):
        writer.write(
            _cut_tiles(strips),
            shape=shape,
            dtype=stored,
            tile=(TILE, TILE),
            photometric="rgb" if has_colors else "minisblack" if palette is None else "palette",
            colormap=None if palette is None else palette.T.astype(np.uint16) * 257,
            compression="zlib",
            extratags=[(*tag, True) for tag in (*calibration.georeference, *_describe_nodata(nodata))],
            resolution=calibration.resolution,
            resolutionunit=calibration.resolution_unit,
            metadata=None if calibration.ome is None else {"axes": "YXS" if has_colors else "YX", **calibration.ome},
        )


def _describe_nodata(nodata: int | None) -> list[tuple[int, int, int, Any]]:
    """Describe the value of pixels without data as a tag, in which GDAL expects text."""
    return [] if nodata is None else [(_GDAL_NODATA, _ASCII, 0, str(nodata))]


def _cut_tiles(strips: Iterable[NDArray[Any]]) -> Iterator[NDArray[Any]]:
    """Cut strips of any height into the tiles of a TIFF, row by row from the top; edge tiles are padded with zeros."""
    rows: list[NDArray[Any]] = []  # parts of strips for the next row of tiles
    for strip in strips:
        rest = strip
        while len(rest):
            part = rest[: TILE - sum(map(len, rows))]
            rows.append(part)
            rest = rest[len(part) :]
            if sum(map(len, rows)) == TILE:
                yield from _cut_row(rows)
                rows = []
    if rows:
        yield from _cut_row(rows)


def _cut_row(rows: Sequence[NDArray[Any]]) -> Iterator[NDArray[Any]]:
    band = np.concatenate(rows)
    for left in range(0, band.shape[1], TILE):
        part = band[:, left : left + TILE]
        tile = np.zeros((TILE, TILE, *band.shape[2:]), band.dtype)
        tile[: part.shape[0], : part.shape[1]] = part
        yield tile


def _read_resolution(tags: Any, description: str) -> tuple[tuple[float, float] | None, int]:
    """Read the pixels per unit in x and y, and TIFF's code of the unit.

    ImageJ writes the unit to the description instead of TIFF's tag; its units are converted to centimeters.
    """
    resolution, code = read_resolution(tags), int(tags.valueof(RESOLUTION_UNIT, NO_UNIT))
    if resolution is None:
        return None, NO_UNIT
    if per_centimeter := UNITS_PER_CENTIMETER.get(read_imagej_unit(description)):
        x, y = resolution
        return (x * per_centimeter, y * per_centimeter), CENTIMETER
    return resolution, code if code in (NO_UNIT, INCH, CENTIMETER) else NO_UNIT


def _read_ome(description: str) -> dict[str, Any] | None:
    """Read the pixel size and the channel names from OME-XML; None if the description is not OME-XML."""
    sizes = read_ome_pixels(description)
    if sizes is None:
        return None
    ome: dict[str, Any] = dict(sizes)
    names = re.findall(r'<(?:\w+:)?Channel\b[^>]*?\bName="([^"]*)"', description)
    if names:
        ome["Description"] = f"Mask of an image with the channels {', '.join(map(html.unescape, names))}"
    return ome
