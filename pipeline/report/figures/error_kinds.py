"""Errors of a prediction, pixel by pixel: their kinds, colors and legend."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.artifacts.prepared_data import SegmentationClass
from pipeline.errors import PipelineError
from pipeline.imaging import IGNORE
from pipeline.report.images import Frame, LegendEntry, Mask
from pipeline.wording import join_words

# The colors differ in lightness and between blue and yellow, so that color-blind readers can tell them apart. They are
# always drawn on the light background GROUND.
GROUND, FOUND, MISSED, FALSE_ALARM = "#f3efe6", "#bdb9ae", "#4b2a8c", "#d9480f"
BOUNDARY, WRONG_FOREGROUND, WRONG_OTHER, IGNORED = "#d16ba5", "#7a0019", "#2a7fb8", "#ffe88a"


@dataclass(frozen=True)
class ErrorKind:
    """A kind of error, with a mask of its pixels (H x W)."""

    text: str
    color: str
    pixels: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class PredictionErrors:
    """The wrong pixels of a prediction by kind, the correct foreground pixels, and the ignored pixels.

    Kinds of error that cannot occur with the classes of the data are left out.
    """

    found: ErrorKind
    wrong: tuple[ErrorKind, ...]
    ignored: ErrorKind

    @classmethod
    def between(
        cls, prediction: Mask, ground_truth: Mask, classes: tuple[SegmentationClass, ...], frame: Frame | None = None
    ) -> PredictionErrors:
        """Compare a prediction with the ground truth, without the padding if a frame is given.

        Raises:
            PipelineError: The prediction and the ground truth differ in shape.
        """
        check_shapes(prediction, ground_truth)
        if frame is not None:
            prediction, ground_truth = frame.crop(prediction), frame.crop(ground_truth)
        evaluated = ground_truth != IGNORE
        predicted, true = is_foreground(prediction, classes), is_foreground(ground_truth, classes)
        same = prediction == ground_truth
        foreground = sum(item.foreground for item in classes)
        others = len(classes) - foreground
        right = "foreground in the right class" if foreground > 1 else "foreground found"
        wrong = []
        edge, true_edge = _is_boundary(prediction, classes), _is_boundary(ground_truth, classes)
        if foreground and others > sum(item.is_boundary for item in classes):
            wrong.append(ErrorKind("foreground missed", MISSED, evaluated & true & ~predicted & ~edge))
            wrong.append(ErrorKind("false alarm", FALSE_ALARM, evaluated & predicted & ~true & ~true_edge))
        if foreground and any(item.is_boundary for item in classes):
            names = join_words([item.name for item in classes if item.is_boundary])
            text = f"foreground and {names} confused"
            wrong.append(ErrorKind(text, BOUNDARY, evaluated & ((true & edge) | (predicted & true_edge))))
        if foreground > 1:
            wrong.append(ErrorKind("wrong foreground class", WRONG_FOREGROUND, evaluated & true & predicted & ~same))
        if others > 1:
            text = "wrong class outside the foreground"
            wrong.append(ErrorKind(text, WRONG_OTHER, evaluated & ~true & ~predicted & ~same))
        return cls(
            ErrorKind(right, FOUND, evaluated & true & same),
            tuple(wrong),
            ErrorKind("ignored pixels", IGNORED, ~evaluated),
        )

    @property
    def is_scored(self) -> bool:
        """Whether any pixel is evaluated."""
        return not self.ignored.pixels.all()

    @property
    def keys(self) -> tuple[LegendEntry, ...]:
        """The legend, with an entry for ignored pixels if there are any."""
        kinds = (self.found, *self.wrong, *([self.ignored] if self.ignored.pixels.any() else []))
        return tuple(LegendEntry(kind.color, kind.text) for kind in kinds)

    def describe(self) -> str:
        """Describe the errors as shares of the evaluated pixels."""
        total = max(int((~self.ignored.pixels).sum()), 1)
        return ", ".join(f"{float(kind.pixels.sum()) / total:.1%} {kind.text}" for kind in self.wrong)


def check_shapes(prediction: Mask, ground_truth: Mask) -> None:
    """Raise `PipelineError` if a prediction and its ground truth differ in shape."""
    if prediction.shape != ground_truth.shape:
        raise PipelineError(
            f"A prediction has {prediction.shape[1]} × {prediction.shape[0]} pixels, but its prepared mask has "
            f"{ground_truth.shape[1]} × {ground_truth.shape[0]}. Run `make report` to evaluate the run again."
        )


def _is_boundary(mask: Mask, classes: tuple[SegmentationClass, ...]) -> npt.NDArray[np.bool_]:
    return np.isin(mask, [index for index, item in enumerate(classes) if item.is_boundary])


def is_foreground(mask: Mask, classes: tuple[SegmentationClass, ...]) -> npt.NDArray[np.bool_]:
    """Return a mask (H x W) of the pixels that belong to a foreground class."""
    return np.isin(mask, [index for index, item in enumerate(classes) if item.foreground])
