"""One way to run a network over a split, for the trainer's bookkeeping and for evaluation alike."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from pipeline.data.arrays import Split
from pipeline.data.batches import Batches
from pipeline.models.arithmetic import arithmetic, device_of
from pipeline.models.losses import image_cross_entropy
from pipeline.runs import IGNORE, Precision

BATCH = 32  # images; fixed, so that equal weights give equal last bits whatever the training's batch size


@dataclass(frozen=True)
class Prediction:
    """What a network made of a split of N images with C classes."""

    losses: npt.NDArray[np.float64]  # N, nats a pixel, mean over an image's counted pixels
    pixels: npt.NDArray[np.int64]  # N, counted pixels: those that are not ignored
    confusion: npt.NDArray[np.int64]  # N x C x C, pixels by truth (rows) and prediction (columns)
    masks: npt.NDArray[np.uint8]  # N x H x W, class indices

    @property
    def loss(self) -> float:
        """The yardstick on the whole split: nats a pixel, over all counted pixels."""
        return float((self.losses * self.pixels).sum() / self.pixels.sum())

    def take(self, index: npt.NDArray[np.int64]) -> Prediction:
        """The prediction for the images at these places."""
        return Prediction(self.losses[index], self.pixels[index], self.confusion[index], self.masks[index])


def predict(
    network: nn.Module,
    split: Split,
    classes: int,
    precision: Precision,
    observe: Callable[[Tensor, Tensor], None] | None = None,
) -> Prediction:
    """Run the network over a split in evaluation mode, without augmentation; leaves it in the mode it was in.

    Args:
        network: images N x channels x H x W to logits N x classes x H x W.
        split: its images and masks.
        classes: how many there are.
        precision: of the arithmetic.
        observe: is shown each batch's logits and masks (N x H x W, int64), in the split's order.
    """
    was_training = network.training
    network.eval()
    parts = []
    device = device_of(network)
    batches = Batches(split, device)
    with torch.inference_mode(), arithmetic(precision, device):
        for start in range(0, len(split), BATCH):
            images, masks = batches.take(np.arange(start, min(start + BATCH, len(split))))
            logits = network(images)
            if observe is not None:
                observe(logits, masks)
            parts.append((image_cross_entropy(logits, masks).cpu(), logits.argmax(dim=1).to(torch.uint8).cpu()))
    network.train(was_training)
    predicted = torch.cat([labels for _, labels in parts]).numpy()
    truth = np.asarray(split.masks)
    pixels = (truth != IGNORE).sum(axis=(1, 2))
    sums = torch.cat([losses for losses, _ in parts]).double().numpy()
    return Prediction(
        losses=sums / np.maximum(pixels, 1),
        pixels=pixels,
        confusion=_confusion(truth, predicted, classes),
        masks=predicted,
    )


def _confusion(truth: npt.NDArray[np.uint8], predicted: npt.NDArray[np.uint8], classes: int) -> npt.NDArray[np.int64]:
    tables = np.empty((len(truth), classes, classes), dtype=np.int64)
    for table, true, guess in zip(tables, truth, predicted, strict=True):
        counted = true != IGNORE
        pairs = true[counted].astype(np.int64) * classes + guess[counted]
        table[:] = np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)
    return tables
