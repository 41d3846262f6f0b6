"""Read DICOM segmentation objects (SEG) as masks.

A segmentation object has one frame for each slice and segment, and usually none for slices without a segment. See
section A.51 of part 3 of the DICOM standard.
"""

from __future__ import annotations

import copy
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.imaging.errors import ImageError
from pipeline.volumes.dicom import DicomVolume, check_decoder, decode_frame
from pipeline.volumes.dicom_geometry import LPS_TO_RAS, TOLERANCE, sort_frames
from pipeline.volumes.dicom_header import DicomFile, Frame, convert_dicom_errors, list_dicom_files, read_dicom_file
from pipeline.volumes.plane_volume import PlaneVolume
from pipeline.volumes.spatial_volume import AXES, SpatialVolume
from pipeline.volumes.volume import Volume


def open_dicom(path: Path, axis: str) -> Volume:
    """Open a DICOM series, a multi-frame file or a segmentation object, which may be the only file of a folder.

    Raises:
        ImageError: The files are not one complete volume.
        OSError: A file cannot be read.
        PipelineError: A package is missing.
    """
    paths = list_dicom_files(path) if path.is_dir() else [path]
    if len(paths) == 1 and (file := read_dicom_file(paths[0])).is_segmentation:
        return DicomSegmentation(file, axis)
    return DicomVolume(path, axis)


class DicomSegmentation(PlaneVolume):
    """A segmentation object with binary segments, whose numbers are the values of the mask; 0 is the background.

    Args:
        file: The header of the file.
        axis: x, y or z.

    Raises:
        ImageError: The segments are not binary, or have no positions.
    """

    has_own_grid = False

    def __init__(self, file: DicomFile, axis: str) -> None:
        if axis not in AXES:
            raise ImageError(
                f"is a DICOM segmentation object, which has no axis {axis}; its slices are along x, y or z"
            )
        with convert_dicom_errors(file.path):
            if (kind := str(file.header.get("SegmentationType"))) != "BINARY":
                raise ImageError(
                    f"is a DICOM segmentation object of the type {kind[:16]}; export it with the type BINARY"
                )
            self._pixels = file.read_format()
            check_decoder(file)
            frames = sort_frames(file.read_frames())
        first = frames[0]
        self._axis_name, self._frames, self.channels = axis, frames, 1
        self.dtype = np.dtype(np.uint8 if max(frame.segment for frame in frames) < 256 else np.uint16)
        self._directions = LPS_TO_RAS[:3, :3] @ np.stack(
            [first.rows, first.columns, np.cross(first.rows, first.columns)], axis=1
        )
        self._positions = np.stack([LPS_TO_RAS[:3, :3] @ frame.position for frame in frames])
        heights = self._positions @ self._directions[:, 2]
        planes = np.concatenate([[0], np.diff(heights) > TOLERANCE]).cumsum()
        self._set_planes(planes, int(planes[-1]) + 1, self._directions[:, 2] * (first.thickness or 1.0))

    def place_on(self, image: Volume) -> DicomSegmentation:
        """Return the mask with the planes of its image.

        Raises:
            ImageError: The image has no positions, or a frame is on none of its planes.
        """
        if not isinstance(image, SpatialVolume):
            raise ImageError("is a DICOM segmentation object, whose image must be a DICOM series or a NIfTI file")
        normal = self._directions[:, 2]
        steps = image.affine[:3, :3]
        across = int(np.abs(normal @ steps / np.linalg.norm(steps, axis=0)).argmax())
        step, origin, num_planes = steps[:, across], image.affine[:3, 3], image.stored_shape[across]
        if step @ normal < 0:  # the image stores its planes in the other direction
            step, origin = -step, origin + step * (num_planes - 1)
        offsets = (self._positions - origin) @ normal / (step @ normal)
        planes = np.rint(offsets).astype(int)
        if np.abs(offsets - planes).max() > TOLERANCE or planes.min() < 0 or planes.max() >= num_planes:
            raise ImageError("is a DICOM segmentation object with frames between or outside the slices of its image")
        placed = copy.copy(self)
        placed._set_planes(planes, num_planes, step)
        return placed

    def _set_planes(self, planes: NDArray[np.integer[Any]], num_planes: int, step: NDArray[np.float64]) -> None:
        """Set the geometry from the plane of each frame, the number of planes, and the vector between two planes."""
        spacing = self._frames[0].spacing
        origins = self._positions - planes[:, None] * step
        self._planes: dict[int, list[Frame]] = defaultdict(list)
        for plane, frame in zip(planes.tolist(), self._frames, strict=True):
            self._planes[plane].append(frame)
        affine = np.eye(4)
        affine[:3, :3] = np.stack(
            [self._directions[:, 0] * spacing[1], self._directions[:, 1] * spacing[0], step], axis=1
        )
        affine[:3, 3] = origins[0]
        self._place_planes(affine, (self._pixels.width, self._pixels.height, num_planes), self._axis_name)
        self._check_shape()

    def _read_plane(self, index: int) -> NDArray[Any]:
        """Decode the segments of a plane.

        Raises:
            ImageError: Segments overlap.
        """
        values = np.zeros((self._pixels.height, self._pixels.width, 1), self.dtype)
        for frame in self._planes.get(index, ()):
            is_inside = decode_frame(frame, self._pixels) > 0
            if values[is_inside].any():
                raise ImageError("has segments that overlap; export them without overlaps")
            values[is_inside] = frame.segment
        return values
