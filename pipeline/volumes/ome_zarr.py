"""Read and write OME-Zarr images. Only the chunks that some slices need are decoded at a time."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.atomic_io import atomic_directory
from pipeline.errors import create_missing_package_error
from pipeline.imaging.errors import ImageError
from pipeline.imaging.pixel_size import PixelSize
from pipeline.imaging.tiff_resolution import StatedPixelSize
from pipeline.volumes.ome_zarr_metadata import Axis, OmeImage, read_ome_image
from pipeline.volumes.volume import Slice, Volume, convert_errors

AXES = ("z", "t")
OME_ZARR = "OME-Zarr"  # source of a pixel size
_UNITS = {
    "angstrom": "Å", "nanometer": "nm", "micrometer": "µm", "millimeter": "mm", "centimeter": "cm", "meter": "m",
    "inch": "inch",
}  # fmt: skip
_MAX_CACHE_BYTES = 1 << 28  # of the slices that are kept because they are in the same chunks
_MAX_COUNTED = 1_000_000  # files whose absence is counted
_CHUNK_SIDE = 1024  # px of a written chunk
_NAMES = {"t": "time points", "z": "slices"}


class OmeZarr(Volume):
    """An OME-Zarr image, or a label image, at full resolution along z or t.

    Attributes:
        image: Metadata of the image.
        slice_axis: z or t.
    """

    def __init__(self, path: Path, axis: str) -> None:
        """Read the metadata of an image.

        Raises:
            ImageError: The metadata are broken or not supported, or another axis has several entries.
            OSError: A file cannot be read.
            PipelineError: zarr is missing.
        """
        if axis not in AXES:
            raise ImageError(f"is an OME-Zarr image, whose slices are along z or t, not along {axis}")
        self.image, self.slice_axis = read_ome_image(path), axis
        sides = {one.name: side for one, side in zip(self.image.axes, self.image.stored.shape, strict=True)}
        for name in AXES:
            if name != axis and sides.get(name, 1) > 1:
                raise ImageError(
                    f"has the axes {''.join(sides)} with {sides[name]} {_NAMES[name]}, but slices are along {axis} "
                    f"only; save one image for each of them"
                )
        self.num_slices, self.channels = sides.get(axis, 1), sides.get("c", 1)
        self.height, self.width = sides["y"], sides["x"]
        self.dtype = self.image.stored.dtype
        self._check_shape()
        self.pixel = _find_pixel(self.image)
        self._array = _open_array(path, self.image)
        self._first, self._cached = 0, np.empty((0, 0, 0, 0), self.dtype)  # consecutive slices

    def read_slice(self, index: int) -> Slice:
        """Read a slice."""
        if not self._first <= index < self._first + len(self._cached):
            self._first, stop = self._find_range(index)
            with convert_errors():
                self._cached = self._read(self._first, stop)
        return Slice(self._cached[index - self._first])

    def count_missing(self) -> tuple[int, int]:
        """Count the chunks (or shards) without a file, whose voxels have the fill value, and all of them."""
        stored = self.image.stored
        total = math.prod(-(-side // part) for side, part in zip(stored.shape, stored.files, strict=True))
        if total > _MAX_COUNTED:
            return 0, total
        found = sum(len([name for name in names if name[-1].isdigit()]) for *_, names in os.walk(self.image.array))
        return max(0, total - found), total

    def _find_range(self, index: int) -> tuple[int, int]:
        """Return the range of slices to read together with a slice: those in its chunks, if they fit into memory."""
        parts = {axis.name: int(part) for axis, part in zip(self.image.axes, self._array.chunks, strict=True)}
        depth = parts.get(self.slice_axis, 1)
        slice_bytes = self.height * self.width * self.channels * self.dtype.itemsize
        if depth * slice_bytes > _MAX_CACHE_BYTES:
            return index, index + 1
        return (first := index // depth * depth), min(first + depth, self.num_slices)

    def _read(self, first: int, stop: int) -> NDArray[Any]:
        """Read consecutive slices, N x H x W x channels."""
        names = [axis.name for axis in self.image.axes]
        ranges = {self.slice_axis: slice(first, stop), **dict.fromkeys("cyx", slice(None))}
        values = np.asarray(self._array[tuple(ranges.get(name, 0) for name in names)])
        kept = [name for name in names if name in ranges]
        for name in (self.slice_axis, "c"):
            if name not in kept:
                values, kept = values[None], [name, *kept]
        order = [kept.index(name) for name in (self.slice_axis, "y", "x", "c")]
        return np.ascontiguousarray(values.transpose(order), self.dtype)


def write_ome_zarr_mask(
    path: Path, source: OmeZarr, slices: Iterator[NDArray[Any]], palette: NDArray[np.uint8] | None
) -> None:
    """Write a mask as an OME-Zarr label image with the axes, scales and NGFF version of its image, without channels.

    Args:
        path: The folder to write.
        source: The image.
        slices: Mask values of all slices, H x W each.
        palette: Colors of the values, 256 x 3; None if values exceed 255.
    """
    import zarr

    first = next(slices)
    image = source.image
    axes = [axis for axis in image.axes if axis.name != "c"]
    sides = {source.slice_axis: source.num_slices, "y": source.height, "x": source.width}
    shape = tuple(sides.get(axis.name, 1) for axis in axes)
    is_v3 = image.zarr_format == 3
    is_transposed = [axis.name for axis in axes if axis.name in "yx"] == ["x", "y"]
    values_found: set[int] = set()
    with atomic_directory(path) as folder:
        group = zarr.create_group(folder, zarr_format=image.zarr_format)
        array = group.create_array(
            "0",
            shape=shape,
            dtype=first.dtype,
            chunks=tuple(
                min(side, _CHUNK_SIDE) if axis.name in "yx" else 1 for axis, side in zip(axes, shape, strict=True)
            ),
            fill_value=0,
            chunk_key_encoding={"name": "default" if is_v3 else "v2", "separator": "/"},
            dimension_names=[axis.name for axis in axes] if is_v3 else None,
        )
        for index, values in enumerate(chain([first], slices)):
            where = tuple(
                slice(None) if axis.name in "yx" else index if axis.name == source.slice_axis else 0 for axis in axes
            )
            array[where] = values.T if is_transposed else values
            values_found.update(np.unique(values).tolist())
        colors = [] if palette is None else [(value, palette[value].tolist()) for value in sorted(values_found)]
        group.attrs.update(_describe_label(path.stem, axes, colors, is_v3=is_v3))


def _describe_label(name: str, axes: list[Axis], colors: list[tuple[int, list[int]]], *, is_v3: bool) -> dict[str, Any]:
    """Create the attributes of a label image."""
    version = "0.5" if is_v3 else "0.4"
    transformations: list[dict[str, Any]] = [{"type": "scale", "scale": [axis.scale for axis in axes]}]
    if any(axis.translation for axis in axes):
        transformations.append({"type": "translation", "translation": [axis.translation for axis in axes]})
    multiscale = {
        "name": name,
        "axes": [
            {"name": axis.name, "type": "time" if axis.name == "t" else "space"}
            | ({"unit": axis.unit} if axis.unit else {})
            for axis in axes
        ],
        "datasets": [{"path": "0", "coordinateTransformations": transformations}],
    }
    label = {"colors": [{"label-value": value, "rgba": [*color, 255 * (value > 0)]} for value, color in colors]}
    if is_v3:
        return {"ome": {"version": version, "multiscales": [multiscale], "image-label": label}}
    return {
        "multiscales": [{"version": version, **multiscale}],
        "image-label": {"version": version, **label},
    }


def _open_array(path: Path, image: OmeImage) -> Any:
    """Open the array of an image for reading."""
    try:
        import zarr
    except ImportError as error:
        raise create_missing_package_error(f"{path}: OME-Zarr images", error, "volumes") from None
    from pipeline.volumes.checked_store import CheckedStore

    with convert_errors():
        store = CheckedStore(image.array, image.stored.chunk_bytes, image.stored.compressor)
        return zarr.open_array(store, mode="r", zarr_format=image.zarr_format)


def _find_pixel(image: OmeImage) -> StatedPixelSize | None:
    """Return the size of a pixel; None if the axes have no unit of length."""
    y, x = (next(axis for axis in image.axes if axis.name == name) for name in "yx")
    if y.unit != x.unit or y.unit not in _UNITS:
        return None
    height, width = (float(f"{axis.scale:.6g}") for axis in (y, x))
    return StatedPixelSize(PixelSize(height, width, _UNITS[y.unit]), OME_ZARR, is_for_print=False)
