"""Read windows of GeoTIFFs with their bands, nodata pixels and georeference.

Files are untrusted. Only GDAL's driver for TIFF opens them, and no other file is read: neither side files, such as
`.aux.xml` and `.ovr`, nor files that the metadata refer to. Memory depends on the window and on the tiles or strips of
the file, whose size is limited, and not on the size that the file declares.
"""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipeline.errors import create_missing_package_error
from pipeline.imaging.decode import is_tiff
from pipeline.imaging.errors import ImageError
from pipeline.imaging.pixel_size import PixelSize
from pipeline.imaging.tiff_resolution import StatedPixelSize
from pipeline.wording import find_closest, join_names

SCENE_ENDINGS = (".tif", ".tiff")
# Sources of a pixel size: the transform, or the ground if the CRS is not true to scale.
GEOTIFF = "GeoTIFF"
GROUND = "GeoTIFF (whose CRS is not true to scale, so pixels were measured on the ground, at the center of the image)"
_KINDS = "uif"  # integers and floating-point numbers
_MAX_OPEN = 4  # the scenes and masks whose tiles are read one after another
_MAX_BANDS = 1000
_MAX_NAMED = 40  # bands in a message
_MAX_OFFSET = 0.1  # px, largest distance between the corners of an image and its mask
_DIGITS = 6  # significant digits of a pixel's side
_STEP = 100.0  # units of a CRS, short enough that its scale is constant, and long enough for PROJ's accuracy
_GEOCENTRIC = 4978  # EPSG code of the CRS whose coordinates are distances from the center of the earth, m
_MIN_AREA = 0.99  # area of a pixel on the ground as a fraction of a rectangle's


@dataclass(frozen=True, eq=False)
class Pixels:
    """Pixels of a window of a scene."""

    values: NDArray[Any]  # H x W x bands
    is_valid: NDArray[np.bool_]  # H x W; False for nodata, undefined values, and pixels outside the scene


class GeoTiff:
    """A GeoTIFF whose windows are read on request.

    Attributes:
        height: Height in px.
        width: Width in px.
        dtype: Type of the values of all bands.
        nodata: Value of pixels without data; None if the file declares none.
        has_nodata: Whether pixels may be invalid.
        crs: Coordinate reference system (rasterio's `CRS`); None if the file has none.
        transform: Affine transformation from column and row to coordinates in the CRS (`affine.Affine`).
        pixel: Size of a pixel; None if the file states none, the CRS is geographic, or pixels are not rectangular on
            the ground.
    """

    def __init__(self, path: Path) -> None:
        """Open a file and read its headers.

        Raises:
            ImageError: The file is not a GeoTIFF, or is stored in an unsupported way.
            OSError: The file cannot be read.
            PipelineError: rasterio is missing.
        """
        rasterio = import_rasterio(path)
        if path.exists() and not path.is_file():
            raise OSError(0, "is not a file, but a pipe, a device or a folder")
        if not is_tiff(path):
            raise ImageError("is not a TIFF")
        with _open_gdal():
            self._dataset = found = rasterio.open(path.absolute(), driver="GTiff")
            if found.subdatasets:
                raise ImageError(f"contains {len(found.subdatasets)} images; save one per file")
            if found.tags(ns="OVERVIEWS"):  # GDAL would open the file that they name
                raise ImageError("has metadata that refer to another file (OVERVIEW_FILE); remove them")
            if not 1 <= found.count <= _MAX_BANDS:
                raise ImageError(f"has {found.count:,} bands; at most {_MAX_BANDS:,} are supported")
            if len(set(found.dtypes)) > 1 or np.dtype(found.dtypes[0]).kind not in _KINDS:
                raise ImageError(f"has values of type {join_names(sorted(set(found.dtypes)))}; save it as uint16")
            self.height, self.width = int(found.height), int(found.width)
            self.dtype = np.dtype(found.dtypes[0])
            self.nodata, self.crs, self.transform = found.nodata, found.crs, found.transform
            flags = rasterio.enums.MaskFlags
            self._all_valid = all(flags.all_valid in band for band in found.mask_flag_enums)
            self._masked_by_value = all(flags.nodata in band for band in found.mask_flag_enums)
            alpha = rasterio.enums.ColorInterp.alpha
            self._opaque = [band for band, color in enumerate(found.colorinterp, 1) if color != alpha]
            self._names = [name or "" for name in found.descriptions]
            sides = [math.prod(block) for block in found.block_shapes]
            together = found.count if found.profile.get("interleave") == "pixel" else 1
            if max(sides) * together > (limit := 2 * (Image.MAX_IMAGE_PIXELS or 0)):
                raise ImageError(f"has tiles or strips of more than {limit:,} values; save it with tiles of 256 px")
            if self.is_located:
                _check_transform(self.transform)
        self.has_nodata = not self._all_valid or self.dtype.kind == "f"
        self.pixel = self._measure_pixel()

    @property
    def is_located(self) -> bool:
        """Whether the file has a georeference."""
        return self.crs is not None or not self.transform.is_identity

    def find_bands(self, wanted: Sequence[int | str] | None) -> tuple[int, ...]:
        """Return the numbers of bands from 1, given by number or name. None selects all bands except transparency.

        Raises:
            ImageError: A band does not exist, or several have its name.
        """
        if wanted is None:
            return tuple(self._opaque)
        found = []
        for one in wanted:
            numbers = [number for number, name in enumerate(self._names, 1) if one in (number, name)]
            if len(numbers) != 1:
                bands = [f"{number} ({name})" if name else str(number) for number, name in enumerate(self._names, 1)]
                near = find_closest(one, [name for name in self._names if name]) if isinstance(one, str) else None
                problem = f"has {len(numbers)} bands named" if numbers else "has no band"
                hint = f". Did you mean '{near}'?" if near and not numbers else ""
                raise ImageError(f"{problem} {one!r}; its bands are {join_names(bands, _MAX_NAMED)}{hint}")
            found += numbers
        return tuple(found)

    def name_bands(self, bands: Sequence[int]) -> tuple[int | str, ...]:
        """Return the names of bands if all of them have different ones, or else their numbers."""
        names = [self._names[band - 1] for band in bands]
        return tuple(names) if all(self._names.count(name) == 1 and name for name in names) else tuple(bands)

    def read(self, rows: slice, columns: slice, bands: Sequence[int], declared: Sequence[float] = ()) -> Pixels:
        """Read a window, which may extend beyond the scene. Invalid pixels are 0.

        Args:
            rows: Rows of the window.
            columns: Columns of the window.
            bands: Numbers of the bands, from 1.
            declared: Values that are data even if the file declares one of them as nodata.

        Raises:
            ImageError: Part of the file is missing or broken.
        """
        height, width = rows.stop - rows.start, columns.stop - columns.start
        values = np.zeros((height, width, len(bands)), self.dtype)
        is_valid = np.zeros((height, width), bool)
        top, left = max(0, rows.start), max(0, columns.start)
        bottom, right = min(self.height, rows.stop), min(self.width, columns.stop)
        if top >= bottom or left >= right:
            return Pixels(values, is_valid)
        inside = slice(top - rows.start, bottom - rows.start), slice(left - columns.start, right - columns.start)
        window = ((top, bottom), (left, right))
        with _open_gdal():
            found = np.moveaxis(self._dataset.read(list(bands), window=window), 0, -1)
            valid = self._read_validity(found, bands, window, declared)
        values[inside] = np.where(valid[..., None], found, np.zeros((), self.dtype))
        is_valid[inside] = valid
        return Pixels(values, is_valid)

    def describe_mismatch(self, mask: GeoTiff) -> str:
        """Describe how the pixels of a mask differ from those of this image; empty if they do not."""
        if (mask.height, mask.width) != (self.height, self.width):
            return f"{mask.width} × {mask.height} px, but the image has {self.width} × {self.height} px"
        if not (self.is_located and mask.is_located):
            return ""
        if self.crs is not None and mask.crs is not None and self.crs != mask.crs:
            return f"its CRS is {format_crs(mask.crs)}, but that of the image is {format_crs(self.crs)}"
        corners = np.array([(0, 0), (self.width, 0), (0, self.height), (self.width, self.height)], float)
        moved = apply_transform(~self.transform, apply_transform(mask.transform, corners))
        distance = float(np.linalg.norm(moved - corners, axis=1).max())
        return f"its transform moves corners by up to {distance:.3g} px" if distance > _MAX_OFFSET else ""

    def _read_validity(
        self, found: NDArray[Any], bands: Sequence[int], window: Any, declared: Sequence[float]
    ) -> NDArray[np.bool_]:
        """Find the valid pixels: a band has data, and no value is NaN or infinite."""
        valid = np.ones(found.shape[:2], bool)
        is_declared = self.nodata is not None and self.nodata in declared
        if not self._all_valid and not (self._masked_by_value and is_declared):
            valid = (self._dataset.read_masks(list(bands), window=window) > 0).any(axis=0)
        if self.dtype.kind == "f":
            valid &= np.isfinite(found).all(axis=-1)
        return valid

    def _measure_pixel(self) -> StatedPixelSize | None:
        """Measure a pixel in meters. Return None without a projected CRS, and for pixels that are not rectangular."""
        a, b, _, d, e, *_ = self.transform
        sides = np.array([(a, d), (b, e)])  # of the columns and the rows, in units of the CRS
        center = apply_transform(self.transform, np.array([(self.width / 2, self.height / 2)]))[0]
        try:
            if self.crs is None or not self.crs.is_projected:
                return None
            _, meters = self.crs.linear_units_factor
            on_ground = sides @ _measure_scale(self.crs, center)
        except Exception:  # a CRS that PROJ does not know, or that is not one of the earth
            return None
        stated, measured = _create_size(sides * meters), _create_size(on_ground)
        if not np.linalg.norm(np.cross(*on_ground)) >= _MIN_AREA * measured.area:  # also NaN, outside the CRS
            return None
        # The scale of most projections differs slightly from 1, which is no reason to change a size of 10 m.
        if not stated.contradicts(measured):
            return StatedPixelSize(stated, GEOTIFF, is_for_print=False)
        return StatedPixelSize(measured, GROUND, is_for_print=False)


def _measure_scale(crs: Any, place: NDArray[np.float64]) -> NDArray[np.float64]:
    """Measure the vectors on the ground, in meters, of one unit along x and one along y of a CRS at a place (2 x 3)."""
    from rasterio.crs import CRS
    from rasterio.warp import transform

    x, y = place
    ends = [(x - _STEP, y), (x, y - _STEP), (x + _STEP, y), (x, y + _STEP)]
    with _open_gdal():
        found = np.array(transform(crs, CRS.from_epsg(_GEOCENTRIC), *zip(*ends, strict=True), [0.0] * len(ends)))
        vectors: NDArray[np.float64] = (found[:, 2:] - found[:, :2]).T / (2 * _STEP)
    return vectors


def _create_size(sides: NDArray[np.float64]) -> PixelSize:
    """Create the size of a pixel whose sides are vectors in meters (2 x N): that of a column, then that of a row."""
    width, height = (float(f"{side:.{_DIGITS}g}") for side in np.linalg.norm(sides, axis=1))
    return PixelSize(height, width, "m")


def apply_transform(transform: Any, points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Apply an affine transformation (`affine.Affine`) to points (N x 2)."""
    a, b, c, d, e, f, *_ = transform
    moved: NDArray[np.float64] = points @ np.array([[a, d], [b, e]]) + (c, f)
    return moved


def open_geotiff(path: Path) -> GeoTiff:
    """Open a GeoTIFF. The last few files are kept open. For exceptions, see `GeoTiff`."""
    status = path.stat()
    return _open(path, (status.st_mtime_ns, status.st_size))


@lru_cache(maxsize=_MAX_OPEN)
def _open(path: Path, stamp: tuple[int, int]) -> GeoTiff:  # noqa: ARG001 - a changed file is opened again
    return GeoTiff(path)


def import_rasterio(path: Path) -> Any:
    """Import rasterio. Raise `PipelineError` if it is missing; `path` is the file that requires it."""
    try:
        import rasterio
        import rasterio.features
        import rasterio.warp
    except ImportError as error:
        raise create_missing_package_error(f"{path}: data.scenes and geo_vectors", error, "geo") from None
    return rasterio


def format_crs(crs: Any) -> str:
    """Format a CRS as its EPSG code, or else as its shortened WKT."""
    try:
        code = crs.to_epsg()
    except Exception:  # a CRS that PROJ does not know
        code = None
    return f"EPSG:{code}" if code else f"{crs.to_string()[:80]}"


def _check_transform(transform: Any) -> None:
    numbers = list(transform)[:6]
    if not all(map(math.isfinite, numbers)) or not transform.determinant:
        raise ImageError(
            f"has a transform that is not finite or not invertible ({', '.join(f'{one:g}' for one in numbers)})"
        )


@contextmanager
def _open_gdal() -> Iterator[None]:
    """Let GDAL read no other file than the one that is opened, silence its log, and convert its errors."""
    import rasterio

    logger = logging.getLogger("rasterio")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        with (
            warnings.catch_warnings(action="ignore"),
            rasterio.Env(GDAL_PAM_ENABLED="NO", GDAL_DISABLE_READDIR_ON_OPEN="EMPTY_DIR"),
        ):
            yield
    except ImageError:
        raise
    except Exception as error:  # broken files can raise any exception; RasterioIOError is an OSError
        reason = str(error.__cause__ or error)[:200] or type(error).__name__
        raise ImageError(f"is not a complete GeoTIFF ({reason})") from None
    finally:
        logger.setLevel(level)
