"""A volume in patient coordinates whose planes are decoded one by one."""

from __future__ import annotations

import math
import weakref
from abc import abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.imaging.errors import ImageError
from pipeline.imaging.pixel_size import PixelSize
from pipeline.imaging.tiff_resolution import StatedPixelSize
from pipeline.volumes.spatial_volume import SpatialVolume
from pipeline.volumes.temporary_file import MAX_BYTES, write_temporary
from pipeline.volumes.volume import Slice, convert_errors

DICOM = "DICOM"  # source of a pixel size


class PlaneVolume(SpatialVolume):
    """A volume of planes, with the stored axes column, row and plane.

    Slices along the axis of the planes are decoded one by one. For other axes, all planes are decoded once, to a
    temporary file.
    """

    _is_white_zero = False
    _voxels: NDArray[Any] | None = None
    _damage = ""  # why the planes cannot be decoded

    @abstractmethod
    def _read_plane(self, index: int) -> NDArray[Any]:
        """Decode a plane, rows x columns x channels."""

    def read_slice(self, index: int) -> Slice:
        """Read a slice."""
        place, grows = self._axis
        if place == 2:
            plane = self._read_plane(index if grows else self.stored_shape[2] - 1 - index)
            values = self._cut(plane.transpose(1, 0, 2)[:, :, None], 0)
        else:
            values = self._cut(self._map_voxels(), index)
        return Slice(np.ascontiguousarray(values), self.channels == 3, is_white_zero=self._is_white_zero)

    def create_nifti_header(self) -> Any:
        """Create a header with the affine and voxel sizes, and nothing else from the files."""
        from nibabel import Nifti1Header

        header = Nifti1Header()
        header.set_data_shape(self.stored_shape)
        header.set_sform(self.affine, code="scanner")
        header.set_qform(self.affine, code="scanner")
        header.set_xyzt_units("mm")
        return header

    def _place_planes(self, affine: NDArray[np.float64], shape: tuple[int, int, int], axis: str) -> None:
        """Set the geometry and the pixel size from an affine, the stored shape, and the axis of the slices."""
        self._voxels, self._damage = None, ""
        with convert_errors():
            self._place(affine, shape, axis)
        sides = [float(f"{np.linalg.norm(affine[:3, place]):.6g}") for place in (self._rows[0], self._columns[0])]
        self.pixel = StatedPixelSize(PixelSize(sides[0], sides[1], "mm"), DICOM, is_for_print=False)

    def _map_voxels(self) -> NDArray[Any]:
        """Decode all planes to a temporary file, and map it into memory in stored order with channels."""
        if self._damage:  # broken planes are decoded only once, too
            raise ImageError(self._damage)
        if self._voxels is None:
            columns, rows, planes = self.stored_shape
            shape = (planes, rows, columns, self.channels)
            if (num_bytes := math.prod(shape) * self.dtype.itemsize) > MAX_BYTES:
                raise ImageError(f"has {num_bytes:,} bytes of voxels; the limit is {MAX_BYTES:,}")
            try:
                file = write_temporary(np.ascontiguousarray(self._read_plane(index)).data for index in range(planes))
            except ImageError as error:
                self._damage = str(error)
                raise
            weakref.finalize(self, file.close)
            self._voxels = np.memmap(file, self.dtype, "r", shape=shape).transpose(2, 1, 0, 3)
        return self._voxels
