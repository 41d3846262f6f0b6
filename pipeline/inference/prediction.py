"""Run a network over images in batches: the only way that training, evaluation, showcase and prediction do it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipeline.artifacts.prepared_data import Split
from pipeline.artifacts.run_folder import Precision
from pipeline.data.batch_loader import BatchLoader
from pipeline.imaging import IGNORE
from pipeline.models.precision import autocast_context, get_device
from pipeline.runtime.shutdown import check_signals

# Images per batch; independent of the training's batch size, so that equal weights give equal last bits.
MAX_BATCH_SIZE = 32
# Fewer images per batch if they are larger than 256 x 256: activations need at most the memory of this many pixels, or
# of a single image if that is larger.
MAX_BATCH_PIXELS = MAX_BATCH_SIZE * 256**2


@dataclass(frozen=True)
class Prediction:
    """A network's prediction for N images and C classes."""

    losses: npt.NDArray[np.float64]  # N, nats per pixel, mean over an image's evaluated pixels; NaN without any
    pixels: npt.NDArray[np.int64]  # N, evaluated pixels: those that are not ignored
    confusion: npt.NDArray[np.int64]  # N x C x C, pixels by ground truth (rows) and prediction (columns)
    masks: npt.NDArray[np.uint8]  # N x H x W, class indices

    @property
    def loss(self) -> float:
        """Cross-entropy of all images: nats per pixel, over all evaluated pixels; NaN without any."""
        total = int(self.pixels.sum())
        return float(np.where(self.pixels > 0, self.losses * self.pixels, 0).sum() / total) if total else math.nan

    def take(self, index: npt.NDArray[np.int64]) -> Prediction:
        """Select the prediction for some images by their indices."""
        return Prediction(self.losses[index], self.pixels[index], self.confusion[index], self.masks[index])


@dataclass(frozen=True)
class PixelPredictions:
    """The pixels of a predicted batch, N x H x W each."""

    truth: Tensor  # int64, class index or `IGNORE`
    predicted: Tensor  # int64, index of the most probable class
    confidence: Tensor  # float32, that class's probability
    losses: Tensor  # float32, cross-entropy in nats; 0 where ignored


def predict_log_probs(network: nn.Module, images: Tensor, precision: Precision) -> Tensor:
    """Predict the logarithms of the class probabilities in evaluation mode: N x classes x H x W, float32.

    The images (N x channels x H x W, float) are on the network's device. The softmax is always computed in float32. The
    network is left in the mode it was in.
    """
    was_training = network.training
    network.eval()
    with torch.inference_mode(), autocast_context(precision, images.device):
        log_probs: Tensor = network(images).float().log_softmax(dim=1)
    network.train(was_training)
    return log_probs


def predict_batches(network: nn.Module, split: Split, precision: Precision) -> Iterator[tuple[Tensor, Tensor]]:
    """Predict a split without augmentation, batch by batch in its order.

    Yields:
        Log-probabilities N x classes x H x W, and the ground truth N x H x W.
    """
    batches = BatchLoader(split, get_device(network))
    size = compute_batch_size(*split.size)
    for start in range(0, len(split), size):
        check_signals()
        images, truth = batches.take(np.arange(start, min(start + size, len(split))))
        yield predict_log_probs(network, images, precision), truth


def predict_split(
    network: nn.Module,
    split: Split,
    num_classes: int,
    precision: Precision,
    observe: Callable[[PixelPredictions], None] | None = None,
) -> Prediction:
    """Predict a split and compare it with its ground truth; without any, its masks are `IGNORE`.

    `observe` is called with the pixels of each batch, in the split's order.
    """
    parts = []
    for log_probs, truth in predict_batches(network, split, precision):
        pixels = _compare_pixels(log_probs, truth)
        if observe is not None:
            observe(pixels)
        parts.append((pixels.losses.sum(dim=(1, 2)).cpu(), pixels.predicted.to(torch.uint8).cpu()))
    predicted = torch.cat([labels for _, labels in parts]).numpy()
    confusion = _count_confusion(split.masks.as_array(), predicted, num_classes)
    evaluated = confusion.sum(axis=(1, 2))
    sums = torch.cat([losses for losses, _ in parts]).double().numpy()
    return Prediction(
        losses=np.divide(sums, evaluated, out=np.full(len(sums), np.nan), where=evaluated > 0),
        pixels=evaluated,
        confusion=confusion,
        masks=predicted,
    )


def compute_batch_size(height: int, width: int) -> int:
    """Compute the images per batch: `MAX_BATCH_SIZE`, or fewer for at most `MAX_BATCH_PIXELS` pixels; at least one."""
    return max(1, min(MAX_BATCH_SIZE, MAX_BATCH_PIXELS // (height * width)))


def _compare_pixels(log_probs: Tensor, truth: Tensor) -> PixelPredictions:
    # `max`, because `argmax` takes ten times as long in float32.
    highest, predicted = log_probs.max(dim=1)
    losses = F.nll_loss(log_probs, truth, ignore_index=IGNORE, reduction="none")
    return PixelPredictions(truth, predicted, highest.exp(), losses)


def _count_confusion(
    truth: npt.NDArray[np.uint8], predicted: npt.NDArray[np.uint8], num_classes: int
) -> npt.NDArray[np.int64]:
    tables = np.empty((len(truth), num_classes, num_classes), dtype=np.int64)
    for table, true, guess in zip(tables, truth, predicted, strict=True):
        evaluated = true != IGNORE
        pairs = true[evaluated].astype(np.int64) * num_classes + guess[evaluated]
        table[:] = np.bincount(pairs, minlength=num_classes * num_classes).reshape(num_classes, num_classes)
    return tables
