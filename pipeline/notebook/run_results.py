"""Results of a run as tables, and its predictions for arrays."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageColor

from pipeline.artifacts.comparison import RunSummary, list_run_values
from pipeline.artifacts.prepared_data import SegmentationClass
from pipeline.artifacts.project import Project
from pipeline.artifacts.scores import Scores
from pipeline.errors import PipelineError
from pipeline.params import Params
from pipeline.wording import suggest_closest

if TYPE_CHECKING:
    import pandas as pd

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
        mask.putpalette([channel for item in self.classes for channel in ImageColor.getrgb(item.color)])
        buffer = io.BytesIO()
        mask.save(buffer, "png")
        return buffer.getvalue()


class RunResults:
    """Results of a run.

    Args:
        name: Name of the run, or `best`.
        params: The parameters of the project.
        project: The project.

    Raises:
        PipelineError: There is no such run, or no setting is ranked.
    """

    def __init__(self, name: str, params: Params, project: Project) -> None:
        summary = project.comparison.summary
        if name == "best":
            if summary.best is None:
                raise PipelineError("There is no best run, because no setting has finished all its seeds. Name a run.")
            name = summary.best.run
        names = [row.run for row in summary.runs]
        if name not in names:
            raise PipelineError(f"The grid has no run '{name}'; {suggest_closest(name, names)}")
        self.name = name
        self._summary: RunSummary = summary.get_run(name)
        self._params, self._project = params, project

    @property
    def parameters(self) -> Mapping[str, Any]:
        """The parameters of the run: variant, learning rate, seed, `model` and `train`."""
        return self._project.run(self.name).record.cell

    @property
    def verdict(self) -> str | None:
        """The verdict, such as learning or memorizing; None if the run has not been trained."""
        return self._summary.judgment.verdict if self._summary.judgment else None

    @property
    def evidence(self) -> tuple[str, ...]:
        """Phrases with the numbers that the verdict is based on."""
        return self._summary.judgment.evidence if self._summary.judgment else ()

    @cached_property
    def history(self) -> pd.DataFrame:
        """One row per epoch: learning rate, losses in nats per pixel, IoU by class."""
        return self._project.run(self.name).history

    @cached_property
    def images(self) -> pd.DataFrame:
        """One row per image of every split: loss, accuracy, IoU, and both by class."""
        return self._project.evaluation(self.name).read_per_image()

    @property
    def scores(self) -> dict[str, Scores | None]:
        """Scores on the compared training images, validation and test; None if the run has no weights."""
        metrics = self._project.evaluation(self.name).metrics
        return {"train": metrics.train, "validation": metrics.validation, "test": metrics.test}

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
        pixels = _check_image(np.asarray(image), trained.preprocessing.channels)
        network_input = trained.preprocessing.create_input(pixels)
        if trained.tiles is None:
            strips = trained.predict_batch([network_input])
        else:
            strips = trained.predict_strips(network_input, trained.tiles)
        probabilities = np.concatenate(list(trained.preprocessing.restore_probs(strips, pixels.shape)), axis=1)
        return Segmentation(probabilities.argmax(axis=0).astype(np.uint8), probabilities, trained.data.classes)

    def __repr__(self) -> str:
        """Return the name and the verdict."""
        return f"<{type(self).__name__} {self.name}: {self.verdict or self._summary.status}>"

    def _repr_html_(self) -> str:
        """Show the run's numbers in a notebook."""
        cells = "".join(
            f"<tr><th style='text-align: left'>{escape(name)}</th><td>{escape(_format(value))}</td></tr>"
            for name, value in list_run_values(self._summary).items()
            if value is not None
        )
        evidence = "".join(f"<li>{escape(phrase)}</li>" for phrase in self.evidence)
        return f"<table>{cells}</table><ul>{evidence}</ul>"


def _format(value: str | float) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _check_image(image: npt.NDArray[Any], channels: int) -> npt.NDArray[Any]:
    """Return an image with its channels in the last axis.

    Raises:
        PipelineError: The array is not an image with 1, 3 or `channels` channels of 8 or 16 bits.
    """
    if image.ndim == 2:
        image = image[..., None]
    expected = "expected H x W or H x W x channels, uint8 or uint16"
    if image.ndim != 3 or 0 in image.shape:
        raise PipelineError(f"The image has the shape {image.shape}; {expected}.")
    if image.dtype not in (np.uint8, np.uint16):
        hint = " Multiply values of 0 to 1 by 255." if np.issubdtype(image.dtype, np.floating) else ""
        raise PipelineError(f"The image has the type {image.dtype}; {expected}.{hint}")
    if image.shape[2] not in {1, channels} and not (channels == 1 and image.shape[2] == 3):
        raise PipelineError(
            f"The image has {image.shape[2]} channels, but the network was trained on images with {channels}."
        )
    return image
