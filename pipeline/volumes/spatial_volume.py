"""A volume with an affine, cut along the axes of the patient.

Slices are those of the closest canonical orientation, so that the same axis and index mean the same in all files,
whatever the order in which they store their voxels: x grows from the left of a patient to the right, y from posterior
to anterior, and z from inferior to superior. Slices are turned as radiologists view them: superior or else anterior is
at the top, and the patient's right or else the anterior side is on the left.
"""

from __future__ import annotations

import itertools
from abc import abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.imaging.errors import ImageError
from pipeline.volumes.volume import Volume

AXES = ("x", "y", "z")


class SpatialVolume(Volume):
    """A volume in patient coordinates, along one of its canonical axes.

    Attributes:
        affine: Matrix from the stored indices of a voxel to its position in RAS+, 4 x 4.
        stored_shape: Number of voxels along each stored axis.
    """

    affine: NDArray[np.float64]
    stored_shape: tuple[int, int, int]

    @abstractmethod
    def create_nifti_header(self) -> Any:
        """Create the header of a NIfTI file with the geometry of the volume."""

    def restore_order(self, slices: NDArray[Any]) -> NDArray[Any]:
        """Return a view of slices (N x H x W) with the axes in the order in which the file stores them."""
        (place, grows), (rows, rows_grow), (columns, columns_grow) = self._axis, self._rows, self._columns
        turned = slices[:: 1 if grows else -1, :: -1 if rows_grow else 1, :: -1 if columns_grow else 1]
        return np.moveaxis(turned, (0, 1, 2), (place, rows, columns))

    def _place(self, affine: NDArray[np.float64], shape: tuple[int, ...], axis: str) -> None:
        """Set the geometry from an affine, the stored shape, and the canonical axis of the slices.

        Raises:
            ImageError: The affine is not invertible.
        """
        self.affine, self.stored_shape = affine, (shape[0], shape[1], shape[2])
        orientation = _find_orientation(affine)
        self.corners = _locate_corners(affine, shape[:3], orientation)
        self.voxel_side = float(np.linalg.norm(affine[:3, :3], axis=0).min())
        across = AXES.index(axis)
        columns, rows = (place for place in range(3) if place != across)
        # Stored axis of each canonical axis, and whether its indices grow in the canonical direction.
        self._axis, self._rows, self._columns = (orientation[place] for place in (across, rows, columns))
        self.num_slices, self.height, self.width = (
            shape[place] for place, _ in (self._axis, self._rows, self._columns)
        )

    def _cut(self, voxels: NDArray[Any], index: int) -> NDArray[Any]:
        """Return a view of a slice, H x W and further axes, of an array with the axes in stored order."""
        (place, grows), (rows, rows_grow), (columns, columns_grow) = self._axis, self._rows, self._columns
        planes = np.moveaxis(voxels, (place, rows, columns), (0, 1, 2))
        return planes[index if grows else -1 - index, :: -1 if rows_grow else 1, :: -1 if columns_grow else 1]


def _find_orientation(affine: NDArray[np.float64]) -> list[tuple[int, bool]]:
    """Return the stored axis of each canonical axis, and whether its indices grow in the canonical direction."""
    from nibabel.orientations import io_orientation

    if not np.isfinite(affine).all() or not np.linalg.det(affine[:3, :3]):
        raise ImageError("has an affine that is not finite or not invertible, so its orientation is unknown")
    by_stored = io_orientation(affine)
    return [(int(np.flatnonzero(by_stored[:, 0] == axis)[0]), by_stored[by_stored[:, 0] == axis][0, 1] > 0)
            for axis in range(3)]  # fmt: skip


def _locate_corners(
    affine: NDArray[np.float64], shape: tuple[int, ...], orientation: list[tuple[int, bool]]
) -> NDArray[np.float64]:
    """Return the positions of the corner voxels (8 x 3), in the order of their canonical indices."""
    corners = []
    for sides in itertools.product((False, True), repeat=3):
        index = np.ones(4)
        for (place, grows), is_last in zip(orientation, sides, strict=True):
            index[place] = shape[place] - 1 if is_last == grows else 0
        corners.append((affine @ index)[:3])
    return np.array(corners)
