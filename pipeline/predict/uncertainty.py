"""Measure how uncertain the predictions for images are, and rank the images, the most uncertain first.

These images teach the networks most if they are annotated next. With an ensemble, images are ranked by the disagreement
of its members, which annotations can reduce, unlike the entropy at blurred outlines. A single run has only its entropy.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.analysis.uncertainty import compute_disagreement, compute_entropy
from pipeline.atomic_io import write_text
from pipeline.inference.preprocessing import Probs
from pipeline.inference.trained_run import TrainedRun
from pipeline.predict.objects import Image
from pipeline.predict.outputs import escape_formula
from pipeline.scenes.scene_image import SceneImage

COLUMNS = ("rank", "file", "disagreement", "entropy")


@dataclass(frozen=True)
class ImageUncertainty:
    """Uncertainty of the prediction for an image: means over its pixels at the network's input size, in nats."""

    file: str
    entropy: float
    disagreement: float | None  # of an ensemble's members; None for a single run

    @property
    def value(self) -> float:
        """The number by which images are ranked."""
        return self.entropy if self.disagreement is None else self.disagreement


class UncertaintyMeter:
    """Meter of the uncertainty of images while they are segmented in strips.

    Args:
        run: The run, or the ensemble.
    """

    def __init__(self, run: TrainedRun) -> None:
        self._resizing, self._is_ensemble = run.preprocessing.resizing, bool(run.members)
        self._sums, self._pixels = np.zeros(2), 0  # entropy and disagreement of the current image

    def measure(self, strips: Iterable[Probs], image: Image) -> Iterator[Probs]:
        """Measure the pixels of an image, without padding and nodata pixels.

        Args:
            strips: Strips from `TrainedRun.predict_member_strips`, or a whole image from `predict_member_batch`.
            image: The image.

        Yields:
            The probabilities of the run, or of the ensemble, in each strip: classes x rows x W.
        """
        self._sums, self._pixels = np.zeros(2), 0
        rows, columns = self._resizing.locate_inner(image.shape)
        size = self._resizing.compute_inner_size(image.shape)
        top = 0
        for strip in strips:
            inner = strip[..., max(0, rows.start - top) : max(0, rows.stop - top), columns]
            entropy = compute_entropy(inner[1:])  # not of the ensemble's own probabilities, which have a temperature
            is_valid = np.ones(entropy[0].shape, np.bool_)
            if isinstance(image, SceneImage) and image.has_nodata and is_valid.size:
                is_valid = _read_validity(image, max(0, top - rows.start), len(is_valid), size)
            values = entropy[0], compute_disagreement(entropy)
            self._sums += [one[is_valid].sum(dtype=np.float64) for one in values]
            self._pixels += int(is_valid.sum())
            top += strip.shape[-2]
            yield strip[0]

    def read(self, file: str) -> ImageUncertainty:
        """Return the uncertainty of the image whose strips were measured last; `file` is its name in the table."""
        entropy, disagreement = (self._sums / self._pixels).tolist()
        return ImageUncertainty(file, entropy, disagreement if self._is_ensemble else None)


def _read_validity(image: SceneImage, top: int, num_rows: int, size: tuple[int, int]) -> NDArray[np.bool_]:
    """Read which pixels of some rows of a resized scene are valid, by nearest neighbor.

    Args:
        image: The scene.
        top: First row of the resized scene.
        num_rows: Number of rows of the resized scene.
        size: Height and width of the resized scene in px.
    """
    height, width = image.shape[:2]
    rows = ((np.arange(top, top + num_rows) + 0.5) * height / size[0]).astype(np.int64)
    columns = ((np.arange(size[1]) + 0.5) * width / size[1]).astype(np.int64)
    valid: NDArray[np.bool_] = image.read_validity(int(rows[0]), int(rows[-1]) + 1)[rows - rows[0]][:, columns]
    return valid


def rank_by_uncertainty(images: Iterable[ImageUncertainty]) -> list[ImageUncertainty]:
    """Rank images, the most uncertain first; equally uncertain ones by name."""
    return sorted(images, key=lambda image: (-image.value, image.file))


def write_ranking(path: Path, ranked: Sequence[ImageUncertainty]) -> None:
    """Write one row per image as CSV, with the columns `COLUMNS`; the disagreement is empty for a single run."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(COLUMNS)
    for rank, image in enumerate(ranked, start=1):
        disagreement = "" if image.disagreement is None else f"{image.disagreement:.6f}"
        writer.writerow([rank, escape_formula(image.file), disagreement, f"{image.entropy:.6f}"])
    write_text(path, buffer.getvalue())
