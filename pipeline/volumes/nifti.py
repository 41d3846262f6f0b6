"""Read and write NIfTI volumes.

Files are untrusted. Sizes that a header declares are compared with the file before anything is read, and no more than
the declared size is decompressed.
"""

from __future__ import annotations

import gzip
import io
import math
import weakref
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from pipeline.atomic_io import atomic_file, remove_leftovers
from pipeline.errors import create_missing_package_error
from pipeline.imaging.errors import ImageError
from pipeline.imaging.pixel_size import PixelSize
from pipeline.imaging.tiff_resolution import StatedPixelSize
from pipeline.volumes.spatial_volume import AXES, SpatialVolume
from pipeline.volumes.temporary_file import MAX_BYTES, write_temporary
from pipeline.volumes.volume import Slice, convert_errors

NIFTI_ENDINGS = (".nii", ".nii.gz")
NIFTI, ASSUMED = "NIfTI", "NIfTI (which states no unit, so mm is assumed)"  # sources of a pixel size

_UNITS = {"unknown": "mm", "mm": "mm", "micron": "µm", "meter": "m"}
_HEADER_BYTES = {1: 348, 2: 540}  # by version of the format
_MAX_COMPRESSION = 1_100  # Deflate compresses to 1/1032 at best
_BLOCK_BYTES = 1 << 20
_GZIP_MAGIC = b"\x1f\x8b"
_LABEL_INTENT = 1002  # NIFTI_INTENT_LABEL
_FLOAT32_ERROR = 1e-7  # relative


class NiftiVolume(SpatialVolume):
    """A NIfTI volume along one of its canonical axes. Compressed files are decompressed once, to a temporary file.

    A fourth axis contains the channels.
    """

    def __init__(self, path: Path, axis: str) -> None:
        """Read the header of a file.

        Raises:
            ImageError: The file is not a NIfTI volume, or its header declares more than the file contains.
            OSError: The file cannot be read.
            PipelineError: nibabel is missing.
        """
        if axis not in AXES:
            raise ImageError(f"is a NIfTI file, which has no axis {axis}; its slices are along x, y or z")
        self._path = path
        self.header = _read_header(path)
        with convert_errors():
            self._stored = _check_stored_shape(self.header.get_data_shape())
            stored_dtype: np.dtype[Any] = self.header.get_data_dtype()
            self._slope, self._inter = self.header.get_slope_inter()
            self._offset = int(self.header.get_data_offset())
            affine = np.asarray(self.header.get_best_affine(), float)
            self._place(affine, self._stored, axis)
        self._is_scaled = self._slope is not None and (self._slope, self._inter) != (1, 0)
        self._stored_dtype = stored_dtype
        self.dtype = np.dtype(np.float64) if self._is_scaled else stored_dtype.newbyteorder("=")
        self.channels = self._stored[3]
        self._check_shape()
        self._num_bytes = math.prod(self._stored) * stored_dtype.itemsize
        _check_num_bytes(path, self._offset, self._num_bytes)
        self.pixel = self._read_pixel_size()
        self._voxels: NDArray[Any] | None = None
        self._damage = ""  # why the voxels cannot be read

    def read_slice(self, index: int) -> Slice:
        """Read a slice."""
        if self._damage:  # a broken file is decompressed only once, too
            raise ImageError(self._damage)
        if self._voxels is None:
            try:
                self._voxels = self._map_voxels()
            except ImageError as error:
                self._damage = str(error)
                raise
        values = self._cut(self._voxels, index)
        values = values * self._slope + self._inter if self._is_scaled else values.astype(self.dtype)
        return Slice(np.ascontiguousarray(values))

    def read_labels(self, index: int) -> Slice:
        """Read a slice of a mask.

        nibabel scales floating-point labels that are saved as integers to the range of the integers. The labels then
        differ from whole numbers by up to half the slope, and by rounding errors of float32. With a slope of 1 or more,
        several labels may have been saved as one value, so nothing is rounded.
        """
        found = self.read_slice(index)
        if not self._is_scaled or self._stored_dtype.kind not in "iu" or abs(self._slope) >= 1:
            return found
        whole, rounding = np.rint(found.values), _FLOAT32_ERROR * (abs(self._inter) + np.abs(found.values))
        is_label = np.abs(found.values - whole) <= abs(self._slope) / 2 + rounding
        return Slice(np.where(is_label, whole, found.values))

    def create_nifti_header(self) -> Any:
        """Copy the header of the file."""
        return self.header.copy()

    def _map_voxels(self) -> NDArray[Any]:
        """Map the voxels of the file, or of its decompressed copy, into memory."""
        if _is_compressed(self._path):
            file, offset = write_temporary(_decompress(self._path, self._offset, self._num_bytes)), 0
        else:
            file, offset = self._path.open("rb"), self._offset
        weakref.finalize(self, file.close)
        with convert_errors():
            return np.memmap(file, self._stored_dtype, "r", offset, self._stored, order="F")

    def _read_pixel_size(self) -> StatedPixelSize | None:
        with convert_errors():
            zooms = [float(zoom) for zoom in self.header.get_zooms()[:3]]
            stated = str(self.header.get_xyzt_units()[0])
        zooms += [1.0] * (3 - len(zooms))
        height, width = (float(f"{zooms[place]:.6g}") for place, _ in (self._rows, self._columns))
        if stated not in _UNITS or not all(math.isfinite(side) and side > 0 for side in (height, width)):
            return None
        size = PixelSize(height, width, _UNITS[stated])
        return StatedPixelSize(size, ASSUMED if stated == "unknown" else NIFTI, is_for_print=False)


def write_nifti_mask(path: Path, source: SpatialVolume, masks: NDArray[Any]) -> None:
    """Write a mask with the geometry of a volume: the same affine, voxel sizes and order of axes.

    Args:
        path: The file to write, compressed if its name ends in .gz.
        source: The volume.
        masks: Mask values in the stored order of axes; it may be mapped into memory.
    """
    import nibabel

    header = source.create_nifti_header()
    header.set_data_shape(masks.shape)
    header.set_data_dtype(masks.dtype)
    header.set_data_offset(0)
    header["cal_max"] = header["cal_min"] = 0  # displayed range of the intensities
    header["intent_code"] = _LABEL_INTENT
    header["descrip"] = b""
    image_class: Any = nibabel.Nifti1Image if header.sizeof_hdr == _HEADER_BYTES[1] else nibabel.Nifti2Image
    image = image_class(masks, None, header)
    remove_leftovers(path)
    with atomic_file(path) as file:
        if not _is_compressed(path):
            image.to_stream(cast("io.IOBase", file))
            return
        with gzip.GzipFile("", "wb", fileobj=file, mtime=0) as compressed:  # the same bytes each time
            image.to_stream(compressed)


def _is_compressed(path: Path) -> bool:
    return path.suffix.lower() == ".gz"


def _read_header(path: Path) -> Any:
    """Read the header of a file, without its extensions. Raise `PipelineError` if nibabel is missing."""
    try:
        from nibabel import Nifti1Header, Nifti2Header
    except ImportError as error:
        raise create_missing_package_error(f"{path}: NIfTI files", error, "volumes") from None
    with _open(path) as file:
        block = file.read(_HEADER_BYTES[2])
    header_classes: dict[int, Any] = {1: Nifti1Header, 2: Nifti2Header}
    for version, header_class in header_classes.items():
        size = _HEADER_BYTES[version]
        if len(block) >= size and {block[:4], block[3::-1]} & {size.to_bytes(4, "little")}:
            with convert_errors():
                return header_class(block[:size], check=False)
    raise ImageError("is not a NIfTI volume")


@contextmanager
def _open(path: Path) -> Iterator[io.BufferedIOBase]:
    """Open a file, and decompress it if it ends in .gz. Errors of the compression become `ImageError`."""
    if path.exists() and not path.is_file():
        raise OSError(0, "is not a file, but a pipe, a device or a folder")
    try:
        with path.open("rb") as file:
            if not _is_compressed(path):
                yield file
                return
            if file.read(2) != _GZIP_MAGIC:
                raise ImageError("is not compressed with gzip, although its name ends in .gz")
            file.seek(0)
            with gzip.GzipFile(fileobj=file) as content:
                yield content
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ImageError(f"is not a complete volume ({error})") from None


def _check_stored_shape(shape: tuple[int, ...]) -> tuple[int, int, int, int]:
    """Return a shape with exactly one axis of channels, of length 1 if there is none."""
    sides = [int(side) for side in shape]
    sides += [1] * (3 - len(sides))
    x, y, z, *others = sides
    if len(longer := [side for side in others if side != 1]) > 1:
        raise ImageError(f"has {len(sides)} axes ({' × '.join(map(str, sides))}); save one volume per file")
    return x, y, z, longer[0] if longer else 1


def _check_num_bytes(path: Path, offset: int, num_bytes: int) -> None:
    """Raise `ImageError` if a header declares more voxels than the file can contain."""
    size = path.stat().st_size * (_MAX_COMPRESSION if _is_compressed(path) else 1)
    if offset < 0 or offset + num_bytes > size:
        raise ImageError(
            f"is not a complete volume (its header declares {num_bytes:,} bytes of voxels, but the file has "
            f"{path.stat().st_size:,} bytes)"
        )
    if num_bytes > MAX_BYTES:
        raise ImageError(f"has {num_bytes:,} bytes of voxels; the limit is {MAX_BYTES:,}")


def _decompress(path: Path, offset: int, num_bytes: int) -> Iterator[bytes]:
    """Decompress the voxels of a file in blocks."""
    with _open(path) as content:
        left = offset
        while left and (skipped := content.read(min(left, _BLOCK_BYTES))):
            left -= len(skipped)
        left = num_bytes
        while left and (block := content.read(min(left, _BLOCK_BYTES))):
            left -= len(block)
            yield block
        if len(content.read(_BLOCK_BYTES)) == _BLOCK_BYTES:  # the checksum is at the end
            raise ImageError("contains more than the voxels that its header declares")
    if left:
        raise ImageError(f"is not a complete volume ({left:,} of {num_bytes:,} bytes of voxels are missing)")
