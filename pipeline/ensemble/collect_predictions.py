"""Collect the predictions of an ensemble and of its members for a split, and their uncertainty."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from torch import Tensor

from pipeline.analysis.calibration import ReliabilityBins
from pipeline.analysis.uncertainty import NUM_BINS, ErrorBins, Probs, compute_disagreement, compute_entropy
from pipeline.artifacts.ensemble_folder import UncertaintyMaps
from pipeline.artifacts.prepared_data import Split
from pipeline.imaging import IGNORE
from pipeline.inference.confidence import ConfidenceCollector, ConfidenceStats
from pipeline.inference.prediction import Prediction, PredictionCollector, compare_pixels, predict_parts
from pipeline.inference.trained_run import TrainedRun

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class NetworkPredictions:
    """Predictions of the ensemble, or of one of its members, for N images.

    The entropies of the ensemble are those of the mean of its members, without the temperature.
    """

    prediction: Prediction
    bins: ReliabilityBins
    entropy: Floats  # N, mean over an image's evaluated pixels in nats; NaN without any
    errors: ErrorBins


@dataclass(frozen=True)
class SplitPredictions:
    """Predictions of the ensemble and its members for N images."""

    ensemble: NetworkPredictions
    unscaled: ConfidenceStats  # of the mean of the members, without the temperature
    members: tuple[NetworkPredictions, ...]
    disagreement: Floats  # N, mean over an image's evaluated pixels in nats; NaN without any

    @property
    def networks(self) -> tuple[NetworkPredictions, ...]:
        """The ensemble, and then each member."""
        return self.ensemble, *self.members


def collect_predictions(run: TrainedRun, split: Split) -> SplitPredictions:
    """Predict a split with an ensemble and each of its members."""
    num_classes = len(run.data.classes)
    collectors = [_NetworkCollector(split, num_classes) for _ in range(1 + len(run.members))]
    unscaled = ConfidenceCollector(num_classes)
    disagreement = np.zeros(len(split))
    for first, rows, log_probs, truth in _predict_members(run, split):
        entropy = compute_entropy(log_probs[:, 1:].exp().cpu().numpy())  # N x (1 + members) x H x W
        evaluated = (truth != IGNORE).cpu().numpy()
        scaled, mean, *of_members = log_probs.unbind(dim=1)
        unscaled(compare_pixels(first, mean, truth))
        for place, (collector, own) in enumerate(zip(collectors, (scaled, *of_members), strict=True)):
            collector.add(first, rows, own, truth, entropy[:, place])
        for offset, (entropies, mask) in enumerate(zip(entropy, evaluated, strict=True)):
            disagreement[first + offset] += compute_disagreement(entropies)[mask].sum(dtype=np.float64)
    ensemble, *members = (collector.finish() for collector in collectors)
    mean_disagreement = _divide(disagreement, ensemble.prediction.pixels)
    return SplitPredictions(ensemble, unscaled.stats(), tuple(members), mean_disagreement)


def predict_maps(run: TrainedRun, split: Split) -> Iterator[UncertaintyMaps]:
    """Predict the images of a split with an ensemble, with the uncertainty of each pixel."""
    for index in range(len(split)):
        strips = []
        for _, _, log_probs, _ in _predict_members(run, split.take(np.array([index]))):
            probs = log_probs[0, 1:].exp().cpu().numpy()
            entropy = compute_entropy(probs)
            strips.append((probs[0].argmax(axis=0).astype(np.uint8), entropy[0], compute_disagreement(entropy)))
        yield UncertaintyMaps(*(np.concatenate(parts) for parts in zip(*strips, strict=True)))


def _predict_members(run: TrainedRun, split: Split) -> Iterator[tuple[int, slice, Tensor, Tensor]]:
    """Predict all rows of a batch of images, or some rows of one image, at a time.

    Yields:
        Index of the first image, rows, log-probabilities N x (2 + members) x classes x H x W, and ground truth N x H x
        W.
    """
    return predict_parts(run.member_outputs, split, len(run.data.classes), run.precision, run.tiles)


class _NetworkCollector:
    """Collector of the predictions of the ensemble, or of one of its members, for a split."""

    def __init__(self, split: Split, num_classes: int) -> None:
        self._num_classes = num_classes
        self._prediction = PredictionCollector(split, num_classes)
        self._confidence = ConfidenceCollector(num_classes)
        self._entropy = np.zeros(len(split))
        self._errors = ErrorBins(np.zeros(NUM_BINS), np.zeros(NUM_BINS))

    def add(self, first: int, rows: slice, log_probs: Tensor, truth: Tensor, entropy: Probs) -> None:
        """Add some rows of images from `first` on: N x classes x H x W log-probabilities, N x H x W entropies."""
        pixels = compare_pixels(first, log_probs, truth)
        self._prediction.add(rows, pixels)
        self._confidence(pixels)
        evaluated = (truth != IGNORE).cpu().numpy()
        is_wrong = (pixels.predicted != truth).cpu().numpy()
        self._errors += ErrorBins.count(entropy[evaluated], is_wrong[evaluated], self._num_classes)
        for offset, (values, mask) in enumerate(zip(entropy, evaluated, strict=True)):
            self._entropy[first + offset] += values[mask].sum(dtype=np.float64)

    def finish(self) -> NetworkPredictions:
        """Return the predictions, after all rows of all images have been added."""
        prediction = self._prediction.finish()
        return NetworkPredictions(
            prediction, self._confidence.stats().sum_bins(), _divide(self._entropy, prediction.pixels), self._errors
        )


def _divide(sums: Floats, pixels: npt.NDArray[np.int64]) -> Floats:
    """Divide sums over pixels by the number of pixels; NaN without any."""
    means: Floats = np.divide(sums, pixels, out=np.full(len(sums), np.nan), where=pixels > 0)
    return means
