"""Weights of the pixels between neighboring objects, as in the U-Net paper."""

from __future__ import annotations

import math
import tempfile
import weakref
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from pipeline.artifacts.image_stack import ImageStack
from pipeline.errors import PipelineError
from pipeline.params.train import BoundaryWeight

REACH = 6  # distance in sigmas beyond which weights are smaller than 2e-8 of w0

Weights = npt.NDArray[np.float16]


def compute_boundary_weights(
    mask: npt.NDArray[np.uint8], foreground: Sequence[int], settings: BoundaryWeight
) -> Weights:
    """Compute w0 exp(-(d1 + d2)² / (2 sigma²)) for each pixel (Ronneberger et al. 2015, equation 2).

    d1 and d2 are the distances in px from the pixel to the two nearest objects, and 0 inside an object, so the weight
    is close to w0 where objects touch. Objects are the connected regions of each foreground class; pixels that touch at
    a corner are connected. With fewer than two objects, d2 is infinite, so all weights are 0.

    Args:
        mask: H x W, class indices.
        foreground: Indices of the foreground classes.
        settings: w0 and sigma.

    Returns:
        H x W, 0 to w0.
    """
    from scipy import ndimage  # imported here, because it takes 0.2 s and most runs have no boundary weights

    reach = math.ceil(REACH * settings.sigma)
    first, second = (np.full(mask.shape, np.inf, np.float32) for _ in range(2))
    for index in foreground:
        regions, _ = ndimage.label(mask == index, np.ones((3, 3)))
        for number, box in enumerate(ndimage.find_objects(regions), start=1):
            window = tuple(slice(max(0, side.start - reach), side.stop + reach) for side in box)
            distance = ndimage.distance_transform_edt(regions[window] != number).astype(np.float32)
            second[window] = np.minimum(second[window], np.maximum(first[window], distance))
            first[window] = np.minimum(first[window], distance)
    weights: npt.NDArray[np.float32] = settings.w0 * np.exp(-((first + second) ** 2) / (2 * settings.sigma**2))
    return weights.astype(np.float16)


class BoundaryWeights:
    """Boundary weights of masks, computed on first use and kept in a temporary file.

    The file has 2 bytes per pixel, and is removed when the object or the process ends. Only the parts in use are in
    memory.
    """

    def __init__(self, masks: ImageStack[np.uint8], foreground: Sequence[int], settings: BoundaryWeight) -> None:
        self._masks, self._foreground, self._settings = masks, foreground, settings
        self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115
        weakref.finalize(self, self._file.close)
        pixels = masks.sizes.prod(axis=1)
        self._starts = (pixels.cumsum() - pixels) * np.dtype(np.float16).itemsize
        self._is_stored = np.zeros(len(masks), bool)

    def __getitem__(self, index: int) -> Weights:
        """Return the weights of a mask, H x W.

        Raises:
            PipelineError: The temporary file cannot be written.
        """
        if not self._is_stored[index]:
            self._store(index)
        height, width = self._masks.sizes[index]
        return np.memmap(self._file, np.float16, "r", int(self._starts[index]), (int(height), int(width)))

    def _store(self, index: int) -> None:
        weights = compute_boundary_weights(self._masks[index], self._foreground, self._settings)
        try:
            self._file.seek(self._starts[index])
            rest = memoryview(weights.tobytes())
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError as error:
            raise PipelineError(
                f"train.boundary_weight: {tempfile.gettempdir()} cannot hold the weights of all training images: "
                f"{error.strerror}. Free 2 bytes per pixel there, or set TMPDIR to another folder."
            ) from None
        self._is_stored[index] = True
