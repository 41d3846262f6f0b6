"""Sort the frames of a DICOM series by their positions, and find the affine of the volume."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.imaging.errors import ImageError
from pipeline.volumes.dicom_header import Frame

TOLERANCE = 0.1  # of the shortest side of a voxel: how far a slice may be from its place; files store rounded numbers
_SAME_DIRECTION = 1e-3  # difference of the components of unit vectors
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def sort_frames(frames: Sequence[Frame]) -> list[Frame]:
    """Sort frames along the normal of their planes.

    Raises:
        ImageError: The frames have different orientations or pixel spacings.
    """
    first = frames[0]
    for other in frames:
        directions = np.abs(np.stack([other.rows - first.rows, other.columns - first.columns]))
        if directions.max() > _SAME_DIRECTION or not np.allclose(other.spacing, first.spacing, rtol=1e-3):
            raise ImageError(
                f"has slices with different orientations or pixel spacings ({_name(first)} and {_name(other)}); put "
                f"each volume into a folder of its own"
            )
    normal = np.cross(first.rows, first.columns)
    return sorted(frames, key=lambda frame: float(frame.position @ normal))


def find_affine(frames: Sequence[Frame]) -> NDArray[np.float64]:
    """Return the matrix from indices (column, row, slice) of sorted frames to RAS+ positions in mm, 4 x 4.

    Slices may be displaced by the tilt of the gantry, but all by the same vector. See section C.7.6.2.1.1 of part 3 of
    the DICOM standard.

    Raises:
        ImageError: A slice is missing or duplicated, or the distances between slices vary.
    """
    first = frames[0]
    normal = np.cross(first.rows, first.columns)
    positions = np.stack([frame.position for frame in frames])
    step = normal * (first.thickness or 1.0)
    if len(frames) > 1:
        distances = np.diff(positions @ normal)
        _check_distances(frames, distances)
        step = (positions[-1] - positions[0]) / (len(frames) - 1)
        expected = positions[0] + np.arange(len(frames))[:, None] * step
        displaced = np.linalg.norm(positions - expected, axis=1)
        if displaced.max() > TOLERANCE * min(*first.spacing, float(np.median(distances))):
            raise ImageError(
                f"has slices that are {distances.min():.4g} to {distances.max():.4g} mm apart or displaced; "
                f"{_name(frames[int(displaced.argmax())])} is {displaced.max():.3g} mm from its place. Resample the "
                f"volume to slices with equal distances"
            )
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1] = first.rows * first.spacing[1], first.columns * first.spacing[0]
    affine[:3, 2], affine[:3, 3] = step, positions[0]
    return LPS_TO_RAS @ affine


def _check_distances(frames: Sequence[Frame], distances: NDArray[np.float64]) -> None:
    """Raise `ImageError` if slices are at the same position, or a distance is a multiple of the usual one."""
    usual = float(np.median(distances))
    place = int(distances.argmin())
    if distances[place] <= TOLERANCE * max(usual, TOLERANCE):
        raise ImageError(
            f"has two slices at the same position ({_name(frames[place])} and {_name(frames[place + 1])}); put each "
            f"volume, such as each time point, into a folder of its own"
        )
    place = int(distances.argmax())
    ratio = distances[place] / usual
    if round(ratio) > 1 and abs(ratio - round(ratio)) <= TOLERANCE:
        raise ImageError(
            f"has slices {usual:.4g} mm apart, but {_name(frames[place])} and {_name(frames[place + 1])} are "
            f"{distances[place]:.4g} mm apart, so {round(ratio) - 1} of the slices between them "
            f"{'is' if round(ratio) == 2 else 'are'} missing"
        )


def _name(frame: Frame) -> str:
    return frame.file.name if frame.index == 0 else f"frame {frame.index} of {frame.file.name}"
