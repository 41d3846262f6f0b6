"""Predictions of a run or of the ensemble for arrays."""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from pipeline.artifacts.prepared_data import SegmentationClass
from pipeline.artifacts.project import Project
from pipeline.errors import PipelineError
from pipeline.imaging.errors import ImageError
from pipeline.params import Params
from pipeline.wording import pluralize

if TYPE_CHECKING:
    from pipeline.inference.preprocessing import Preprocessing
    from pipeline.inference.trained_run import TrainedRun


@dataclass(frozen=True, eq=False)
class Segmentation:
    """The prediction for an image, which notebooks show as a mask in the colors of the classes."""

    labels: npt.NDArray[np.uint8]  # H x W, index of each pixel's most probable class
    probabilities: npt.NDArray[np.float32]  # classes x H x W
    classes: tuple[SegmentationClass, ...]

    @property
    def class_names(self) -> list[str]:
        """Names of the classes, in the order of their indices."""
        return [item.name for item in self.classes]

    def _repr_png_(self) -> bytes:
        mask = Image.fromarray(self.labels)
        mask.putpalette([channel for item in self.classes for channel in item.rgb])
        buffer = io.BytesIO()
        mask.save(buffer, "png")
        return buffer.getvalue()


class Segmenter:
    """A trained run, or the ensemble, that segments arrays.

    Args:
        name: Name of the run, or `ensemble`.
        params: The parameters of the project.
        project: The project.
    """

    def __init__(self, name: str, params: Params, project: Project) -> None:
        self.name = name
        self._params, self._project = params, project

    @cached_property
    def _trained(self) -> TrainedRun:
        from pipeline.inference.trained_run import TrainedRun

        return TrainedRun.load(self._params, self.name, self._project)

    def predict(self, image: npt.ArrayLike) -> Segmentation:
        """Segment an image.

        Args:
            image: H x W or H x W x channels, uint8 or uint16, of any size.

        Raises:
            PipelineError: The array is not such an image, or has other channels than the training images.
        """
        trained = self._trained
        pixels = _check_image(np.asarray(image), trained.preprocessing)
        network_input = trained.preprocessing.create_input(pixels)
        if trained.tiles is None:
            strips = trained.predict_batch([network_input])
        else:
            strips = trained.predict_strips(network_input, trained.tiles)
        probabilities = np.concatenate(list(trained.preprocessing.restore_probs(strips, pixels.shape)), axis=1)
        return Segmentation(probabilities.argmax(axis=0).astype(np.uint8), probabilities, trained.data.classes)


def _check_image(image: npt.NDArray[Any], preprocessing: Preprocessing) -> npt.NDArray[Any]:
    """Return an image with its channels in the last axis.

    Raises:
        PipelineError: The array is not an image that the network can segment.
    """
    channels = preprocessing.channels
    if image.ndim == 2:
        image = image[..., None]
    expected = "expected H x W or H x W x channels, uint8 or uint16"
    if image.ndim != 3 or 0 in image.shape:
        raise PipelineError(f"The image has the shape {image.shape}; {expected}.")
    if image.dtype not in (np.uint8, np.uint16):
        hint = " Multiply values of 0 to 1 by 255." if np.issubdtype(image.dtype, np.floating) else ""
        raise PipelineError(f"The image has the type {image.dtype}; {expected}.{hint}")
    # As when files are read. Only 8-bit gray is converted to colors of 16 bits.
    is_gray = image.shape[2] == 1 and channels == 3 and (preprocessing.bits == 8 or image.dtype == np.uint8)
    is_color = image.shape[2] == 3 and channels == 1
    if image.shape[2] != channels and not is_gray and not is_color:
        raise PipelineError(
            f"The image has {pluralize(image.shape[2], 'channel')} of type {image.dtype}, but the network was trained "
            f"on images with {channels} of {preprocessing.bits} bits."
        )
    if image.dtype == np.uint16 and image.shape[2] == 3 and (channels, preprocessing.bits) == (1, 16):
        raise PipelineError("The image has three channels of 16 bits, but only 8-bit colors are converted to gray.")
    try:
        preprocessing.check_values(image.dtype, image.shape[2])
    except ImageError as error:
        raise PipelineError(f"The image {error}.") from None
    return image
