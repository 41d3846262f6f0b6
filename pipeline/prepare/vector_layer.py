"""Read polygons with categories from GeoJSON files, GeoPackages and shapefiles.

Files are untrusted. Their size is limited, and their first bytes must be those of the format, because GDAL would
otherwise open whatever else it recognizes, such as a VRT that refers to other files or addresses.
"""

from __future__ import annotations

import math
import re
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import PipelineError, create_missing_package_error
from pipeline.prepare.formats.safe_files import load_json
from pipeline.prepare.read_file import MAX_BYTES
from pipeline.scenes.geotiff import format_crs, import_rasterio
from pipeline.wording import join_names, pluralize, suggest_closest

VECTOR_ENDINGS = (".geojson", ".json", ".gpkg", ".shp")
CATEGORY = "polygon"  # category of all polygons without an attribute
UNDEFINED = "null"  # category of polygons whose attribute has no value
MAX_JSON_BYTES = 250_000_000  # Python objects take about ten times the memory
_MAGIC = {".gpkg": b"SQLite format 3\0", ".shp": b"\x00\x00\x27\x0a"}
_EPSG = re.compile(r"(?:urn:(?:x-)?ogc:def:crs:EPSG:[^:]*:|EPSG:)([0-9]{4,6})")
_CRS84 = re.compile(r"(?:urn:ogc:def:crs:)?OGC:[0-9.]*:?CRS84")
_WGS84 = 4326
_MAX_NAMED = 3  # features in a message
_POLYGONS = (3, 6)  # shapely's numbers of Polygon and MultiPolygon


@dataclass(frozen=True, eq=False)
class VectorLayer:
    """Polygons of a file."""

    file: Path
    crs: Any  # rasterio's CRS
    shapes: NDArray[Any]  # polygons and multipolygons of shapely
    categories: list[str]  # of the polygons, in the same order

    def project(self, crs: Any) -> NDArray[Any]:
        """Transform the polygons to another CRS. Polygons that it cannot express become empty."""
        import shapely
        from rasterio import warp

        if crs == self.crs or not len(self.shapes):
            return self.shapes

        def transform(points: NDArray[np.float64]) -> NDArray[np.float64]:
            return np.column_stack(warp.transform(self.crs, crs, points[:, 0], points[:, 1]))

        projected: NDArray[Any] = shapely.transform(self.shapes, transform)
        is_finite = np.isfinite(shapely.bounds(projected)).all(axis=1)
        return np.where(is_finite, projected, shapely.Polygon())


def read_layer(path: Path, attribute: str | None, key: str) -> VectorLayer:
    """Read the polygons of a file. Features without a geometry are left out.

    Args:
        path: The file.
        attribute: Attribute with the category; None if all polygons have the same.
        key: Parameter that names the file, for messages.

    Raises:
        PipelineError: The file cannot be read, has no CRS or no such attribute, or has invalid geometries; or a package
            is missing.
    """
    import_rasterio(path)
    try:
        import pyogrio  # noqa: F401
        import shapely
    except ImportError as error:
        raise create_missing_package_error(f"{key}: {path}: files with polygons", error, "geo") from None
    if path.suffix.lower() not in VECTOR_ENDINGS:
        raise PipelineError(f"{key}: {path} is not read; supported extensions: {', '.join(VECTOR_ENDINGS)}.")
    is_json = path.suffix.lower() not in _MAGIC
    crs, shapes, values = (_read_geojson if is_json else _read_with_gdal)(path, attribute, key)
    has_shape = ~(shapely.is_missing(shapes) | shapely.is_empty(shapes))
    shapes, values = shapes[has_shape], [value for value, has in zip(values, has_shape, strict=True) if has]
    _check_shapes(path, shapes, key)
    return VectorLayer(path, crs, shapes, values)


def list_attributes(path: Path, key: str) -> list[str]:
    """List the attributes of a file's features; for the arguments and exceptions, see `read_layer`."""
    if path.suffix.lower() in _MAGIC:
        import_rasterio(path)
        import pyogrio

        _check_content(path, key)
        try:
            return [str(name) for name in pyogrio.read_info(path.absolute())["fields"]]
        except Exception as error:  # broken files can raise any exception
            raise PipelineError(f"{key}: {path} cannot be read ({str(error)[:200]}). Export the layer again.") from None
    features = load_json(path, key, dict, MAX_JSON_BYTES).get("features")
    known = (one.get("properties") for one in features if isinstance(one, dict)) if isinstance(features, list) else ()
    return list(dict.fromkeys(name for one in known if isinstance(one, dict) for name in one))


def _read_geojson(path: Path, attribute: str | None, key: str) -> tuple[Any, NDArray[Any], list[str]]:
    import shapely.geometry
    from rasterio.crs import CRS

    content = load_json(path, key, dict, MAX_JSON_BYTES)
    features = content.get("features") if content.get("type") == "FeatureCollection" else [content]
    if not isinstance(features, list) or not all(isinstance(one, dict) and "geometry" in one for one in features):
        raise PipelineError(f"{key}: {path} is not GeoJSON with features. Export the layer again as GeoJSON.")
    shapes, values, known = [], [], dict[str, None]()
    for number, feature in enumerate(features):
        properties = feature.get("properties")
        properties = properties if isinstance(properties, dict) else {}
        known |= dict.fromkeys(properties)
        values.append(_format_category(properties.get(attribute)) if attribute else CATEGORY)
        try:
            shapes.append(None if feature["geometry"] is None else shapely.geometry.shape(feature["geometry"]))
        except Exception as error:  # the geometry may be any JSON
            raise PipelineError(
                f"{key}: {path}: the geometry of feature {number} cannot be read ({str(error)[:100]}). Export the "
                f"layer again."
            ) from None
    _check_attribute(path, attribute, list(known), key, len(features))
    found = np.array([*shapes, None], object)[:-1]  # None keeps numpy from looking into the shapes
    if (epsg := _find_epsg(content.get("crs"))) is None:
        raise PipelineError(
            f"{key}: {path} has a crs member other than EPSG:<number>. Reproject the layer, for example with ogr2ogr "
            f"-t_srs EPSG:4326."
        )
    if "crs" not in content and len(found):
        left, bottom, right, top = shapely.total_bounds(found)
        if max(abs(left), abs(right)) > 360 or max(abs(bottom), abs(top)) > 90:
            raise PipelineError(
                f"{key}: {path} states no CRS, so its coordinates must be degrees, but they range from {left:g}, "
                f"{bottom:g} to {right:g}, {top:g}. Export the layer again with a CRS, or in EPSG:4326."
            )
    return CRS.from_epsg(epsg), found, values


def _find_epsg(member: object) -> int | None:
    """Find the EPSG code in the `crs` member of GeoJSON. Without the member, it is that of longitude and latitude."""
    if member is None:
        return _WGS84
    properties = member.get("properties") if isinstance(member, dict) else None
    name = properties.get("name") if isinstance(properties, dict) else None
    if not isinstance(name, str):
        return None
    if _CRS84.fullmatch(name):
        return _WGS84
    return int(found[1]) if (found := _EPSG.fullmatch(name)) else None


def _read_with_gdal(path: Path, attribute: str | None, key: str) -> tuple[Any, NDArray[Any], list[str]]:
    import pyogrio.raw
    import shapely
    from rasterio.crs import CRS

    _check_content(path, key)
    if path.suffix.lower() == ".gpkg":
        _check_tables(path, key)
    try:
        layers = [str(name) for name, kind in pyogrio.list_layers(path.absolute()) if kind is not None]
        if len(layers) == 1:
            fields = [str(name) for name in pyogrio.read_info(path.absolute(), layer=layers[0])["fields"]]
            _check_attribute(path, attribute, fields, key)
            columns = [attribute] if attribute else []
            meta, _, geometry, data = pyogrio.raw.read(
                path.absolute(), layer=layers[0], columns=columns, force_2d=True, datetime_as_string=True
            )
            shapes: NDArray[Any] = shapely.from_wkb(geometry, on_invalid="raise")
            crs = CRS.from_user_input(meta["crs"]) if meta["crs"] else None
    except PipelineError:
        raise
    except Exception as error:  # broken files can raise any exception
        raise PipelineError(f"{key}: {path} cannot be read ({str(error)[:200]}). Export the layer again.") from None
    if len(layers) != 1:
        found = join_names(layers) or "none"
        raise PipelineError(f"{key}: {path} must have one layer with geometries, but has {found}. Save one per file.")
    if crs is None:
        raise PipelineError(
            f"{key}: {path} has no CRS, so its position is unknown. Assign it in a GIS, or add the .prj file of the "
            f"shapefile."
        )
    return crs, shapes, [_format_category(value) for value in data[0]] if attribute else [CATEGORY] * len(shapes)


def _check_content(path: Path, key: str) -> None:
    """Raise `PipelineError` if a file is not of the format that its ending states, or too large."""
    try:
        if not path.is_file() and path.exists():
            raise OSError(0, "is not a file")
        size = path.stat().st_size
        with path.open("rb") as file:
            magic = file.read(16)
    except FileNotFoundError:
        raise PipelineError(f"{key}: {path} does not exist.") from None
    except OSError as error:
        raise PipelineError(f"{key}: {path} cannot be read ({error.strerror}).") from None
    if not magic.startswith(_MAGIC[path.suffix.lower()]):
        kind = "GeoPackage" if path.suffix.lower() == ".gpkg" else "shapefile"
        raise PipelineError(f"{key}: {path} is not a {kind}. Export the layer again.")
    if size > MAX_BYTES:
        raise PipelineError(f"{key}: {path} has {size:,} bytes; the limit is {MAX_BYTES:,}. Divide the layer.")


def _check_tables(path: Path, key: str) -> None:
    """Raise `PipelineError` if layers or tables of metadata in a GeoPackage are views, which can call any function."""
    try:
        connection = sqlite3.connect(f"file:{quote(str(path.absolute()))}?mode=ro&immutable=1", uri=True)
        try:
            kinds = dict(connection.execute("SELECT lower(name), type FROM sqlite_master"))
            layers = [str(name).lower() for (name,) in connection.execute("SELECT table_name FROM gpkg_contents")]
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise PipelineError(f"{key}: {path} is not a GeoPackage ({error}). Export the layer again.") from None
    views = [name for name, kind in kinds.items() if kind == "view" and (name in layers or name.startswith("gpkg_"))]
    if views:
        raise PipelineError(
            f"{key}: {path} has a view as a layer ({views[0]}), which is not read. Export it as a table."
        )


def _check_attribute(
    path: Path, attribute: str | None, known: Sequence[str], key: str, num_features: int | None = None
) -> None:
    if attribute is None or attribute in known or num_features == 0:
        return
    hint = suggest_closest(attribute, known, f"its attributes are {join_names(known)}.") if known else "it has none."
    raise PipelineError(f"data.attribute: {path} ({key}) has no attribute '{attribute}'; {hint}")


def _check_shapes(path: Path, shapes: NDArray[Any], key: str) -> None:
    """Raise `PipelineError` if geometries are not polygons, or are invalid."""
    import shapely

    kinds = shapely.get_type_id(shapes)
    if len(others := shapes[~np.isin(kinds, _POLYGONS)]):
        raise PipelineError(
            f"{key}: {path} has {pluralize(len(others), 'geometry that is', 'geometries that are')} not a polygon "
            f"(such as {others[0].geom_type}), which have no area. Buffer them in a GIS, or remove them."
        )
    invalid = np.flatnonzero(~shapely.is_valid(shapes))
    if len(invalid):
        reasons = [f"polygon {number}: {shapely.is_valid_reason(shapes[number])}" for number in invalid[:_MAX_NAMED]]
        raise PipelineError(
            f"{key}: {path} has {pluralize(len(invalid), 'invalid polygon', 'invalid polygons')}, for example "
            f"{'; '.join(reasons)}. Repair them, for example with ogr2ogr -makevalid."
        )


def _format_category(value: object) -> str:
    """Format the value of an attribute."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return UNDEFINED
    if isinstance(value, float | np.floating) and float(value).is_integer():
        return str(int(value))
    return str(value)[:1000]


def describe_bounds(layer: VectorLayer, crs: Any) -> str:
    """Describe where the polygons of a layer are in a CRS; if it can express none of them, in the CRS of the layer."""
    import shapely

    shapes = layer.project(crs)
    if shapely.is_empty(shapes).all():
        shapes, crs = layer.shapes, layer.crs
    left, bottom, right, top = shapely.total_bounds(shapes)
    return f"{left:.6g}, {bottom:.6g} to {right:.6g}, {top:.6g} in {format_crs(crs)} (from {format_crs(layer.crs)})"


def number_categories(layers: Mapping[str, VectorLayer]) -> dict[int, str]:
    """Number the categories of all layers from 1, in alphabetical order."""
    names = sorted({name for layer in layers.values() for name in layer.categories})
    return dict(enumerate(names, start=1))
