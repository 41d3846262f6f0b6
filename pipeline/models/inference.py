"""One way to run a network over a split, for the trainer's bookkeeping and for evaluation alike."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipeline.data.batch_loader import Batches
from pipeline.data.prepared import Split
from pipeline.models.precision import autocast_context, get_device
from pipeline.runs import IGNORE, Precision
from pipeline.runtime.shutdown import check_signals

BATCH = 32  # images; fixed, so that equal weights give equal last bits whatever the training's batch size
# Fewer images per batch if they are larger than 256 x 256: activations need at most the memory of this many pixels, or
# of a single image if that is larger.
BATCH_PIXELS = BATCH * 256**2


@dataclass(frozen=True)
class Prediction:
    """What a network made of a split of N images with C classes."""

    losses: npt.NDArray[np.float64]  # N, nats per pixel, mean over an image's evaluated pixels; NaN without any
    pixels: npt.NDArray[np.int64]  # N, evaluated pixels: those that are not ignored
    confusion: npt.NDArray[np.int64]  # N x C x C, pixels by truth (rows) and prediction (columns)
    masks: npt.NDArray[np.uint8]  # N x H x W, class indices

    @property
    def loss(self) -> float:
        """Cross-entropy of the whole split: nats per pixel, over all evaluated pixels; NaN without any."""
        total = int(self.pixels.sum())
        return float(np.where(self.pixels > 0, self.losses * self.pixels, 0).sum() / total) if total else math.nan

    def take(self, index: npt.NDArray[np.int64]) -> Prediction:
        """The prediction for the images at these places."""
        return Prediction(self.losses[index], self.pixels[index], self.confusion[index], self.masks[index])


@dataclass(frozen=True)
class Pixels:
    """What a network made of a batch's pixels, N x H x W each."""

    truth: Tensor  # int64, class index or `IGNORE`
    predicted: Tensor  # int64, the likeliest class's index
    confidence: Tensor  # float32, that class's probability
    losses: Tensor  # float32, cross-entropy in nats; 0 where ignored


def log_probabilities(network: nn.Module, images: Tensor, precision: Precision) -> Tensor:
    """The logarithms of the classes' probabilities, N x classes x H x W, float32, in evaluation mode.

    Args:
        network: images N x channels x H x W to logits N x classes x H x W; is left in the mode it was in.
        images: of them, float, where the network is.
        precision: of the arithmetic; the softmax is float32's.
    """
    was_training = network.training
    network.eval()
    with torch.inference_mode(), autocast_context(precision, images.device):
        found: Tensor = network(images).float().log_softmax(dim=1)
    network.train(was_training)
    return found


def predict(
    network: nn.Module,
    split: Split,
    classes: int,
    precision: Precision,
    observe: Callable[[Pixels], None] | None = None,
) -> Prediction:
    """Run the network over a split in evaluation mode, without augmentation; leaves it in the mode it was in.

    Args:
        network: images N x channels x H x W to logits N x classes x H x W.
        split: its images and masks.
        classes: how many there are.
        precision: of the arithmetic.
        observe: is shown each batch's pixels, in the split's order.
    """
    parts = []
    batches = Batches(split, get_device(network))
    size = batch_size(*split.masks.shape[1:])
    for start in range(0, len(split), size):
        check_signals()
        images, truth = batches.take(np.arange(start, min(start + size, len(split))))
        pixels = _pixels(log_probabilities(network, images, precision), truth)
        if observe is not None:
            observe(pixels)
        parts.append((pixels.losses.sum(dim=(1, 2)).cpu(), pixels.predicted.to(torch.uint8).cpu()))
    predicted = torch.cat([labels for _, labels in parts]).numpy()
    masks = np.asarray(split.masks)
    confusion = _confusion(masks, predicted, classes)
    evaluated = confusion.sum(axis=(1, 2))
    sums = torch.cat([losses for losses, _ in parts]).double().numpy()
    return Prediction(
        losses=np.divide(sums, evaluated, out=np.full(len(sums), np.nan), where=evaluated > 0),
        pixels=evaluated,
        confusion=confusion,
        masks=predicted,
    )


def batch_size(height: int, width: int) -> int:
    """Compute the images per batch: `BATCH`, or fewer for at most `BATCH_PIXELS` pixels; at least one."""
    return max(1, min(BATCH, BATCH_PIXELS // (height * width)))


def _pixels(likelihoods: Tensor, truth: Tensor) -> Pixels:
    # `max` and not `argmax`, which takes ten times as long in float32.
    highest, predicted = likelihoods.max(dim=1)
    losses = F.nll_loss(likelihoods, truth, ignore_index=IGNORE, reduction="none")
    return Pixels(truth, predicted, highest.exp(), losses)


def _confusion(truth: npt.NDArray[np.uint8], predicted: npt.NDArray[np.uint8], classes: int) -> npt.NDArray[np.int64]:
    tables = np.empty((len(truth), classes, classes), dtype=np.int64)
    for table, true, guess in zip(tables, truth, predicted, strict=True):
        counted = true != IGNORE
        pairs = true[counted].astype(np.int64) * classes + guess[counted]
        table[:] = np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)
    return tables
