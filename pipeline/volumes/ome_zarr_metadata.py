"""Read the metadata of OME-Zarr images, NGFF 0.4 (Zarr 2) and 0.5 (Zarr 3), and check them before Zarr opens an array.

The metadata are untrusted: arrays must be inside the folder, and only compressors of numbers are accepted, not filters
that deserialize Python objects.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from pipeline.imaging.errors import ImageError

ZARR_ENDING = ".zarr"
LABELS = "labels"  # group of the masks inside an image's folder
MAX_CHUNK_BYTES = 1 << 28  # of a decoded chunk
_MAX_METADATA_BYTES = 1 << 24
_MAX_AXES = 5
_V2_FILES, _V3_FILE = (".zattrs", ".zarray"), "zarr.json"
# Codecs of zarr and numcodecs whose output is bytes or numbers.
_COMPRESSORS = ("blosc", "gzip", "lz4", "zlib", "zstd")
_FILTERS = ("astype", "bitround", "delta", "fixedscaleoffset", "packbits", "quantize", "shuffle")
_V3_CODECS = ("bytes", "crc32c", "transpose", "sharding_indexed", *_COMPRESSORS)
_V3_TYPES = ("bool", *(f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)),
             "float16", "float32", "float64")  # fmt: skip


@dataclass(frozen=True)
class Axis:
    """An axis of an array."""

    name: str  # t, c, z, y or x
    scale: float  # length of a voxel, or the time between two points
    unit: str  # as NGFF spells it, such as micrometer; empty if it is not stated
    translation: float = 0.0


@dataclass(frozen=True)
class ArrayMetadata:
    """What the metadata of an array declare."""

    shape: tuple[int, ...]
    files: tuple[int, ...]  # shape of the parts that are stored in one file: chunks, or shards
    chunk_bytes: int  # of a decoded chunk
    dtype: np.dtype[Any]
    compressor: str  # of the chunks; empty if they are not compressed


@dataclass(frozen=True)
class OmeImage:
    """An image, or a label image, at full resolution."""

    array: Path  # folder of the array
    zarr_format: int  # 2 for NGFF 0.4, 3 for NGFF 0.5
    axes: tuple[Axis, ...]
    stored: ArrayMetadata


def read_ome_image(path: Path) -> OmeImage:
    """Read the metadata of the first resolution of an image.

    Args:
        path: Folder of the image or label image.

    Raises:
        ImageError: The metadata are missing, broken or not supported.
        OSError: A file cannot be read.
    """
    group, attributes, zarr_format = _find_image(path)
    multiscales = attributes.get("multiscales")
    first = multiscales[0] if isinstance(multiscales, list) and multiscales else None
    datasets = first.get("datasets") if isinstance(first, dict) else None
    dataset = datasets[0] if isinstance(datasets, list) and datasets else None
    if first is None or not isinstance(dataset, dict):
        raise ImageError("has no datasets in its multiscales metadata")
    array = _locate(path, group, dataset.get("path"))
    stored = _read_array(array, zarr_format)
    axes = _read_axes(first, dataset, len(stored.shape))
    return OmeImage(array, zarr_format, axes, stored)


def list_labels(path: Path) -> list[str]:
    """List the names of the label images inside an image's folder."""
    labels = path / LABELS
    if not labels.is_dir():
        return []
    names = (".zattrs", ".zgroup", _V3_FILE)
    return sorted(one.name for one in labels.iterdir() if any((one / name).is_file() for name in names))


def _find_image(path: Path) -> tuple[Path, dict[str, Any], int]:
    """Return the folder of a group with multiscales metadata, its attributes, and the version of Zarr."""
    if not path.is_dir():
        raise ImageError("is not a folder of a Zarr group")
    attributes, zarr_format = _read_attributes(path)
    if "multiscales" in attributes:
        return path, attributes, zarr_format
    if "plate" in attributes:
        raise ImageError("is a plate with several wells; use the folder of one image, such as plate.zarr/A/1/0")
    if "bioformats2raw.layout" in attributes and not (path / "1").is_dir() and (path / "0").is_dir():
        attributes, zarr_format = _read_attributes(path / "0")
        if "multiscales" in attributes:
            return path / "0", attributes, zarr_format
    if (path / "1").is_dir() and "bioformats2raw.layout" in attributes:
        raise ImageError("contains several images; use the folder of one image, such as scan.zarr/0")
    raise ImageError("has no multiscales metadata; expected an OME-Zarr image (NGFF 0.4 or 0.5)")


def _read_attributes(folder: Path) -> tuple[dict[str, Any], int]:
    """Read the attributes of a group, and the version of Zarr."""
    if (folder / _V3_FILE).exists():
        content = _read_json(folder / _V3_FILE)
        if content.get("node_type") != "group":
            raise ImageError("is a Zarr array without OME metadata; save it as an OME-Zarr image")
        attributes = content.get("attributes")
        ome = attributes.get("ome") if isinstance(attributes, dict) else None
        return ome if isinstance(ome, dict) else {}, 3
    if (folder / _V2_FILES[0]).exists():
        return _read_json(folder / _V2_FILES[0]), 2
    if (folder / _V2_FILES[1]).exists():
        raise ImageError("is a Zarr array without OME metadata; save it as an OME-Zarr image")
    raise ImageError(f"has neither {_V2_FILES[0]} nor {_V3_FILE}, the metadata of an OME-Zarr image")


def _read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object from a file of limited size."""
    if not path.is_file():
        raise ImageError(f"contains {path.name}, which is not a file")
    if (size := path.stat().st_size) > _MAX_METADATA_BYTES:
        raise ImageError(f"has {size:,} bytes of metadata in {path.name}; the limit is {_MAX_METADATA_BYTES:,}")
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ImageError(f"has a broken {path.name} ({str(error)[:100]})") from None
    if not isinstance(content, dict):
        raise ImageError(f"has a broken {path.name} (it is not a JSON object)")
    return content


def _locate(top: Path, group: Path, text: object) -> Path:
    """Return the folder of an array. Raise `ImageError` if it is not inside the image's folder."""
    if not isinstance(text, str) or not text or len(text) > 1000 or "\0" in text or "\\" in text:
        raise ImageError(f"has a dataset with the path {str(text)[:100]!r} in its multiscales metadata")
    try:
        folder = (group / text).resolve(strict=True)
        is_inside = folder.is_relative_to(top.resolve())
    except (FileNotFoundError, NotADirectoryError):
        is_inside, folder = ".." not in PurePosixPath(text).parts, group / text
    except (OSError, RuntimeError):  # such as a loop of links
        is_inside = False
    if PurePosixPath(text).is_absolute() or not is_inside:
        raise ImageError(f"has a dataset with the path {text[:100]!r}, which is not inside the image's folder")
    if not folder.is_dir():
        raise ImageError(f"has no folder {text[:100]!r}, which its multiscales metadata name")
    return folder


def _read_array(folder: Path, zarr_format: int) -> ArrayMetadata:
    """Read the metadata of an array, and check its shape, type and codecs."""
    name = _V3_FILE if zarr_format == 3 else _V2_FILES[1]
    if not (folder / name).exists():
        raise ImageError(f"has no {name} in {folder.name}/")
    content = _read_json(folder / name)
    try:
        return _parse_v3(content) if zarr_format == 3 else _parse_v2(content)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ImageError(
            f"has a broken {name} in {folder.name}/ ({type(error).__name__}: {str(error)[:100]})"
        ) from None


def _parse_v2(content: dict[str, Any]) -> ArrayMetadata:
    compressor, filters = content["compressor"], content["filters"] or []
    compressors = [str(compressor["id"])] if compressor else []
    _check_codecs(compressors, _COMPRESSORS)
    _check_codecs([one["id"] for one in filters], _FILTERS)
    if content["zarr_format"] != 2:
        raise ValueError(f"zarr_format {content['zarr_format']}")
    text = content["dtype"]
    try:
        dtype = np.dtype(text if isinstance(text, str) else "V")
    except TypeError:
        dtype = np.dtype("V")
    _check_type(dtype.kind in "buif", text)
    shape, chunks = _parse_shape(content["shape"]), _parse_shape(content["chunks"])
    return _create_metadata(shape, chunks, chunks, dtype, compressors)


def _parse_v3(content: dict[str, Any]) -> ArrayMetadata:
    if content["node_type"] != "array" or content["chunk_grid"]["name"] != "regular":
        raise ValueError("not an array with chunks of the same size")
    if content.get("storage_transformers"):
        raise ValueError("storage transformers are not supported")
    codecs = _list_v3_codecs(content["codecs"])
    names = [str(one["name"]) for one in codecs]
    _check_codecs(names, _V3_CODECS)
    _check_type((text := content["data_type"]) in _V3_TYPES, text)
    files = chunks = _parse_shape(content["chunk_grid"]["configuration"]["chunk_shape"])
    for one in codecs:
        if one["name"] == "sharding_indexed":
            chunks = _parse_shape(one["configuration"]["chunk_shape"])
    compressors = [name for name in names if name in _COMPRESSORS]
    return _create_metadata(_parse_shape(content["shape"]), files, chunks, np.dtype(text), compressors)


def _create_metadata(
    shape: tuple[int, ...],
    files: tuple[int, ...],
    chunks: tuple[int, ...],
    dtype: np.dtype[Any],
    compressors: list[str],
) -> ArrayMetadata:
    if not len(shape) == len(files) == len(chunks) <= _MAX_AXES:
        raise ValueError(f"shape {shape}, chunks {chunks}")
    if (num_bytes := math.prod(chunks) * dtype.itemsize) > MAX_CHUNK_BYTES:
        raise ImageError(f"has chunks of {num_bytes:,} bytes; the limit is {MAX_CHUNK_BYTES:,}")
    return ArrayMetadata(shape, files, num_bytes, dtype.newbyteorder("="), compressors[-1] if compressors else "")


def _parse_shape(value: object) -> tuple[int, ...]:
    if not isinstance(value, list) or not all(type(side) is int and side > 0 for side in value):
        raise ValueError(f"{str(value)[:100]} is not a shape")
    return tuple(value)


def _check_type(is_supported: bool, text: object) -> None:
    if not is_supported:
        raise ImageError(f"has values of type {str(text)[:100]}; save it with integers or floating-point numbers")


def _list_v3_codecs(codecs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """List the codecs of chunks, also of those inside shards."""
    found = list(codecs)
    for one in codecs:
        configuration = one.get("configuration") or {}
        for key in ("codecs", "index_codecs") if one["name"] == "sharding_indexed" else ():
            found += _list_v3_codecs(configuration[key])
    return found


def _check_codecs(names: list[str], supported: tuple[str, ...]) -> None:
    if unknown := [name for name in names if name not in supported]:
        raise ImageError(
            f"has the codec {str(unknown[0])[:100]!r}, which is not supported; save it with one of "
            f"{', '.join(supported)}"
        )


def _read_axes(multiscale: dict[str, Any], dataset: dict[str, Any], num_axes: int) -> tuple[Axis, ...]:
    """Read the names, units and scales of the axes."""
    axes = multiscale.get("axes")
    named = [one for one in axes if isinstance(one, dict)] if isinstance(axes, list) else []
    names = [str(one.get("name", "")).lower() for one in named]
    if len(names) != num_axes or len(set(names)) != num_axes or not {"y", "x"} <= set(names) <= set("tczyx"):
        raise ImageError(
            f"has the axes {str(names or axes)[:100]} in its multiscales metadata, but an array with {num_axes} axes; "
            f"expected y and x, and optionally t, c and z"
        )
    scales, translations = np.ones(num_axes), np.zeros(num_axes)
    for owner in (dataset, multiscale):
        transformations = owner.get("coordinateTransformations") or []
        for one in transformations if isinstance(transformations, list) else []:
            kind = one.get("type") if isinstance(one, dict) else None
            if kind not in ("scale", "translation"):
                continue
            values = np.array(one.get(kind), dtype=object)
            if values.shape != (num_axes,) or not all(
                isinstance(value, int | float) and math.isfinite(value) for value in values
            ):
                raise ImageError(f"has a broken {kind} in its coordinateTransformations: {str(one.get(kind))[:100]}")
            if kind == "scale":
                scales, translations = scales * values.astype(float), translations * values.astype(float)
            else:
                translations = translations + values.astype(float)
    if not (scales > 0).all():
        raise ImageError(f"has a scale that is not positive: {scales.tolist()}")
    return tuple(
        Axis(name, float(scale), str(one.get("unit") or "")[:40], float(translation))
        for name, one, scale, translation in zip(names, named, scales, translations, strict=True)
    )
